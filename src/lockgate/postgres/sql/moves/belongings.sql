-- What a switch can change of the schema: address and "kind identity", as the fingerprint writes it, of each object of the tables $1
-- (oids) and of all that names them. It runs with search_path = pg_catalog alone.
WITH RECURSIVE family(oid) AS (
  SELECT pg_catalog.unnest($1::oid[])
  UNION
  SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN family f ON f.oid = i.inhparent
), named AS (
  SELECT c.oid, c.relkind, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
), hit AS MATERIALIZED (
  SELECT d.classid, d.objid, d.objsubid FROM pg_catalog.pg_depend d
   WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid IN (SELECT oid FROM family UNION ALL SELECT indexrelid FROM pg_catalog.pg_index WHERE indrelid IN (SELECT oid FROM family))
  UNION
  -- Through the row type of a table, and the array of it.
  SELECT d.classid, d.objid, d.objsubid FROM pg_catalog.pg_depend d
   WHERE d.refclassid = 'pg_type'::regclass AND d.refobjid IN (SELECT pg_catalog.unnest(ARRAY[t.oid, t.typarray]) FROM pg_catalog.pg_type t JOIN family f ON f.oid = t.typrelid)
)
SELECT pg_catalog.concat('relation ', r.oid), CASE r.relkind WHEN 'v' THEN 'view ' WHEN 'm' THEN 'matview ' WHEN 'S' THEN 'sequence ' ELSE 'table ' END || r.name
  FROM named r
 WHERE r.relkind IN ('r', 'p', 'f') AND r.oid IN (SELECT oid FROM family)
    OR r.relkind IN ('v', 'm') AND r.oid IN (SELECT w.ev_class FROM pg_catalog.pg_rewrite w JOIN hit h ON h.classid = 'pg_rewrite'::regclass AND h.objid = w.oid)
    OR r.relkind = 'S' AND r.oid IN (SELECT objid FROM hit WHERE classid = 'pg_class'::regclass)
UNION ALL
SELECT pg_catalog.concat('column ', a.attrelid, ' ', a.attnum), pg_catalog.concat('column ', r.name, '.', pg_catalog.quote_ident(a.attname))
  FROM pg_catalog.pg_attribute a JOIN named r ON r.oid = a.attrelid
 WHERE a.attnum > 0 AND NOT a.attisdropped AND r.relkind IN ('r', 'p', 'f', 'c')
   AND (a.attrelid IN (SELECT oid FROM family)
        OR (a.attrelid, a.attnum) IN (SELECT objid, objsubid FROM hit WHERE classid = 'pg_class'::regclass AND objsubid > 0
                                      UNION ALL SELECT d.adrelid, d.adnum FROM pg_catalog.pg_attrdef d JOIN hit h ON h.classid = 'pg_attrdef'::regclass AND h.objid = d.oid))
UNION ALL
SELECT pg_catalog.concat('constraint ', k.oid), pg_catalog.concat('constraint ', r.name, '.', pg_catalog.quote_ident(k.conname))
  FROM pg_catalog.pg_constraint k JOIN named r ON r.oid = k.conrelid
 WHERE k.conrelid IN (SELECT oid FROM family) OR k.oid IN (SELECT objid FROM hit WHERE classid = 'pg_constraint'::regclass)
UNION ALL
SELECT pg_catalog.concat('relation ', r.oid), 'index ' || r.name
  FROM named r JOIN pg_catalog.pg_index i ON i.indexrelid = r.oid
 WHERE i.indrelid IN (SELECT oid FROM family)
UNION ALL
SELECT pg_catalog.concat('trigger ', g.oid), pg_catalog.concat('trigger ', r.name, '.', pg_catalog.quote_ident(g.tgname))
  FROM pg_catalog.pg_trigger g JOIN named r ON r.oid = g.tgrelid
 WHERE NOT g.tgisinternal AND (g.tgrelid IN (SELECT oid FROM family) OR g.oid IN (SELECT objid FROM hit WHERE classid = 'pg_trigger'::regclass))
UNION ALL
SELECT pg_catalog.concat('policy ', y.oid), pg_catalog.concat('policy ', r.name, '.', pg_catalog.quote_ident(y.polname))
  FROM pg_catalog.pg_policy y JOIN named r ON r.oid = y.polrelid
 WHERE y.polrelid IN (SELECT oid FROM family) OR y.oid IN (SELECT objid FROM hit WHERE classid = 'pg_policy'::regclass)
UNION ALL
SELECT pg_catalog.concat('rule ', w.oid), pg_catalog.concat('rule ', r.name, '.', pg_catalog.quote_ident(w.rulename))
  FROM pg_catalog.pg_rewrite w JOIN named r ON r.oid = w.ev_class
 WHERE w.rulename <> '_RETURN' AND (w.ev_class IN (SELECT oid FROM family) OR w.oid IN (SELECT objid FROM hit WHERE classid = 'pg_rewrite'::regclass))
UNION ALL
SELECT pg_catalog.concat('function ', p.oid), pg_catalog.concat(CASE p.prokind WHEN 'p' THEN 'procedure ' WHEN 'a' THEN 'aggregate ' ELSE 'function ' END,
         pg_catalog.format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.oidvectortypes(p.proargtypes)))
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
 WHERE p.oid IN (SELECT objid FROM hit WHERE classid = 'pg_proc'::regclass)
UNION ALL
SELECT pg_catalog.concat('statistics ', s.oid), pg_catalog.concat('statistics ', pg_catalog.format('%I.%I', n.nspname, s.stxname))
  FROM pg_catalog.pg_statistic_ext s JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace
 WHERE s.stxrelid IN (SELECT oid FROM family)
UNION ALL
SELECT pg_catalog.concat('type ', t.oid), pg_catalog.concat('domain ', pg_catalog.format('%I.%I', n.nspname, t.typname))
  FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
 WHERE t.typtype = 'd' AND t.oid IN (SELECT objid FROM hit WHERE classid = 'pg_type'::regclass)
