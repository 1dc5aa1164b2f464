-- What stands in the schemas of $3 (JSON) and in lockgate, and belongs neither to the owner $1 nor to the migrator $2; by
-- owner, the first ten named, with the statements that hand them over: all of them or, where they are more than ten, none
-- (lockgate roles --adopt has them). Lockgate's own objects are apart. $4 (JSON) are the roles that must own nothing at all.
WITH here AS (
  SELECT n.oid, n.nspname, n.nspowner
    FROM pg_catalog.pg_namespace n
   WHERE n.nspname = 'lockgate' OR n.nspname IN (SELECT pg_catalog.json_array_elements_text($3::json))
), thing AS (
  -- The schema public belongs to the database's owner, and may.
  SELECT 'SCHEMA' AS kind, pg_catalog.quote_ident(h.nspname) AS name, h.nspowner AS owner, 'pg_namespace'::regclass AS class, h.oid, h.nspname FROM here h WHERE h.nspname <> 'public'
  UNION ALL
  SELECT CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END,
         c.oid::regclass::text, c.relowner, 'pg_class'::regclass, c.oid, h.nspname
    FROM pg_catalog.pg_class c JOIN here h ON h.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
      -- A sequence that a column owns follows its table.
      OR (c.relkind = 'S' AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                                             AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')))
  UNION ALL
  SELECT CASE WHEN p.prokind = 'a' THEN 'AGGREGATE' ELSE 'ROUTINE' END, CASE WHEN p.prokind = 'a' AND p.pronargs = 0 THEN pg_catalog.format('%I.%I(*)', h.nspname, p.proname) ELSE p.oid::regprocedure::text END, p.proowner, 'pg_proc'::regclass, p.oid, h.nspname
    FROM pg_catalog.pg_proc p JOIN here h ON h.oid = p.pronamespace
  UNION ALL
  SELECT CASE WHEN t.typtype = 'd' THEN 'DOMAIN' ELSE 'TYPE' END, t.oid::regtype::text, t.typowner, 'pg_type'::regclass, t.oid, h.nspname
    FROM pg_catalog.pg_type t JOIN here h ON h.oid = t.typnamespace
   WHERE t.typtype IN ('e', 'd', 'r')
      OR (t.typtype = 'c' AND EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
  UNION ALL
  SELECT 'STATISTICS', pg_catalog.format('%I.%I', h.nspname, s.stxname), s.stxowner, 'pg_statistic_ext'::regclass, s.oid, h.nspname
    FROM pg_catalog.pg_statistic_ext s JOIN here h ON h.oid = s.stxnamespace
), wrong AS (
  SELECT t.*, r.rolname, CASE WHEN r.rolname IN (SELECT pg_catalog.json_array_elements_text($4::json)) THEN 'owner-forbidden'
                              WHEN t.nspname = 'lockgate' THEN 'home-owner-wrong' ELSE 'owner-wrong' END AS finding
    FROM thing t
    LEFT JOIN pg_catalog.pg_roles r ON r.oid = t.owner
   WHERE r.rolname IS DISTINCT FROM $1::name AND r.rolname IS DISTINCT FROM $2::name
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = t.class AND d.objid = t.oid AND d.deptype = 'e')
), counted AS (
  SELECT w.*, pg_catalog.row_number() OVER (PARTITION BY w.finding, w.rolname ORDER BY w.kind, w.name) AS number,
         pg_catalog.count(*) OVER (PARTITION BY w.finding, w.rolname) AS total
    FROM wrong w
)
SELECT c.finding, COALESCE(c.rolname::text, 'a dropped role'), pg_catalog.max(c.total)::text,
       pg_catalog.string_agg(pg_catalog.lower(c.kind) || ' ' || c.name, ', ' ORDER BY c.number) || CASE WHEN pg_catalog.max(c.total) > 10 THEN ', …' ELSE '' END,
       COALESCE(pg_catalog.string_agg(pg_catalog.format('ALTER %s %s OWNER TO %I;', c.kind, c.name, CASE c.nspname WHEN 'lockgate' THEN $2 ELSE $1 END), ' ' ORDER BY c.number)
                FILTER (WHERE c.total <= 10), '')
  FROM counted c
 WHERE c.number <= 10
 GROUP BY c.finding, c.rolname
 ORDER BY 1, 2
