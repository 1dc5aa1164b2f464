-- What user objects belong to whom: kind, name, owner. Indexes and TOAST follow their table; members of extensions theirs.
WITH object AS (
  SELECT 'relation' AS kind, c.oid, 'pg_class'::regclass AS catalogue, c.oid::regclass::text AS name, c.relowner AS owner, c.relnamespace AS space
    FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
  UNION ALL
  SELECT 'function', p.oid, 'pg_proc'::regclass, p.oid::regprocedure::text, p.proowner, p.pronamespace FROM pg_catalog.pg_proc p
  UNION ALL
  SELECT 'type', t.oid, 'pg_type'::regclass, t.oid::regtype::text, t.typowner, t.typnamespace FROM pg_catalog.pg_type t WHERE t.typtype IN ('e', 'd', 'r')
  UNION ALL
  SELECT 'schema', n.oid, 'pg_namespace'::regclass, n.nspname::text, n.nspowner, n.oid FROM pg_catalog.pg_namespace n
)
SELECT o.kind, o.name, r.rolname::text
  FROM object o JOIN pg_catalog.pg_roles r ON r.oid = o.owner JOIN pg_catalog.pg_namespace n ON n.oid = o.space
 WHERE o.oid >= 16384 AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'lockgate')
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = o.catalogue AND d.objid = o.oid AND d.deptype = 'e')
 ORDER BY 1, 2
