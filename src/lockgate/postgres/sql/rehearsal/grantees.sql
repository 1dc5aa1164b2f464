-- Roles that hold a privilege on a user's table, view or sequence without owning it: what applications run as.
SELECT DISTINCT r.rolname::text
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) a
  JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S') AND c.oid >= 16384 AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'lockgate')
   AND a.grantee <> c.relowner AND NOT r.rolsuper AND r.rolname !~ '^pg_'
 ORDER BY 1
