-- Schemas that hold tables of somebody's own and stand in no [roles] schemas: finding, schema. $1 migrator, $2 the schemas (JSON).
-- Unreachable is one that the migrator may not use or create in, or with a table whose owner's rights it lacks.
SELECT CASE WHEN m.oid IS NULL THEN 'schema-unlisted'
            WHEN NOT pg_catalog.has_schema_privilege(m.oid, n.oid, 'USAGE') OR NOT pg_catalog.has_schema_privilege(m.oid, n.oid, 'CREATE')
                 OR NOT pg_catalog.bool_and(pg_catalog.pg_has_role(m.oid, c.relowner, 'USAGE')) THEN 'schema-unreachable'
            ELSE 'schema-unlisted' END,
       n.nspname::text
  FROM pg_catalog.pg_namespace n
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'f')
  LEFT JOIN pg_catalog.pg_roles m ON m.rolname = $1::name
 WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'lockgate', 'lockgate_index')
   AND n.nspname NOT IN (SELECT pg_catalog.json_array_elements_text($2::json))
   -- What an extension made is its own business: the schema, or the tables in another one.
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
 GROUP BY n.oid, n.nspname, m.oid
 ORDER BY 2
