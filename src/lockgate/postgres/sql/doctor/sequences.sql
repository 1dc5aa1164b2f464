-- Ascending sequences that have used three quarters of what they, or the column that they fill, can hold.
WITH used AS (
  SELECT c.oid::regclass::text AS name, o.named, o.type,
         CASE WHEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT,USAGE') THEN pg_catalog.pg_sequence_last_value(c.oid) END AS value,
         LEAST(s.seqmax, CASE o.type WHEN 'smallint' THEN 32767 WHEN 'integer' THEN 2147483647 ELSE s.seqmax END) AS most
    FROM pg_catalog.pg_sequence s
    JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid
    LEFT JOIN LATERAL (
      SELECT pg_catalog.format('%s.%I', d.refobjid::regclass, a.attname) AS named, pg_catalog.format_type(a.atttypid, NULL) AS type
        FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
       WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass
         AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i') LIMIT 1) o ON true
   WHERE s.seqincrement > 0 AND NOT s.seqcycle AND c.relpersistence <> 't'
)
SELECT CASE WHEN value >= most * 0.9 THEN 'sequence-nearly-exhausted' ELSE 'sequence-filling' END,
       name, COALESCE(named, 'no column'), value::text, most::text, pg_catalog.trunc(value * 100.0 / most)::text
  FROM used
 WHERE most > 0 AND value >= most * 0.75
 ORDER BY value * 1.0 / most DESC, name
