-- Every object that has an owner of its own, with its schema, as ALTER names it: (kind, name, owner, class, oid, nspname).
-- Whoever asks says which schemas, and leaves out what an extension owns.
SELECT 'SCHEMA' AS kind, pg_catalog.quote_ident(n.nspname) AS name, n.nspowner AS owner, 'pg_catalog.pg_namespace'::pg_catalog.regclass AS class, n.oid, n.nspname
  FROM pg_catalog.pg_namespace n
 WHERE n.nspname <> 'public'  -- it belongs to the database's owner, and may
UNION ALL
SELECT CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END,
       c.oid::pg_catalog.regclass::text, c.relowner, 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid, n.nspname
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
    -- A sequence that a column owns follows its table.
    OR (c.relkind = 'S' AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid
                                           AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')))
UNION ALL
SELECT CASE WHEN p.prokind = 'a' THEN 'AGGREGATE' ELSE 'ROUTINE' END,
       CASE WHEN p.prokind = 'a' AND p.pronargs = 0 THEN pg_catalog.format('%I.%I(*)', n.nspname, p.proname) ELSE p.oid::pg_catalog.regprocedure::text END,
       p.proowner, 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid, n.nspname
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
UNION ALL
SELECT CASE WHEN t.typtype = 'd' THEN 'DOMAIN' ELSE 'TYPE' END, t.oid::pg_catalog.regtype::text, t.typowner, 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, n.nspname
  FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
 WHERE t.typtype IN ('e', 'd', 'r')
    OR (t.typtype = 'c' AND EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
UNION ALL
SELECT 'STATISTICS', pg_catalog.format('%I.%I', n.nspname, s.stxname), s.stxowner, 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass, s.oid, n.nspname
  FROM pg_catalog.pg_statistic_ext s JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace
