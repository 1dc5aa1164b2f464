-- What neither LIKE nor a list of columns carries over to a table made like $1 (an oid): statements for $2, its name as SQL. $3 are the roles that there are; $4 the server's version.
WITH given AS (
  SELECT a.privilege_type, a.grantee, a.is_grantable, NULL::name AS attname FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a WHERE c.oid = $1::oid
  UNION ALL
  SELECT a.privilege_type, a.grantee, a.is_grantable, t.attname FROM pg_catalog.pg_attribute t, pg_catalog.aclexplode(t.attacl) a WHERE t.attrelid = $1::oid AND t.attnum > 0 AND NOT t.attisdropped
), it AS (SELECT c.* FROM pg_catalog.pg_class c WHERE c.oid = $1::oid)
SELECT pg_catalog.format('GRANT %s%s ON %s TO %s%s', privilege_type, ' (' || pg_catalog.quote_ident(attname) || ')', $2::text,
         CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(grantee)) END, CASE WHEN is_grantable THEN ' WITH GRANT OPTION' END)
  FROM given WHERE (grantee = 0 OR pg_catalog.pg_get_userbyid(grantee)::text = ANY ($3::text[])) AND (privilege_type <> 'MAINTAIN' OR $4::int >= 170000)
UNION ALL
SELECT pg_catalog.format('ALTER TABLE %s SET (%s = %L)', $2::text, pg_catalog.quote_ident(o.option_name), o.option_value) FROM it, pg_catalog.pg_options_to_table(it.reloptions) o WHERE it.relkind = 'r'
UNION ALL
SELECT pg_catalog.format('ALTER TABLE %s SET (toast.%s = %L)', $2::text, pg_catalog.quote_ident(o.option_name), o.option_value)
  FROM it JOIN pg_catalog.pg_class t ON t.oid = it.reltoastrelid, pg_catalog.pg_options_to_table(t.reloptions) o WHERE it.relkind = 'r'
UNION ALL
SELECT pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS %s', $2::text, attname, attstattarget) FROM pg_catalog.pg_attribute WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped AND attstattarget >= 0
UNION ALL
SELECT pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I SET (%s = %L)', $2::text, a.attname, pg_catalog.quote_ident(o.option_name), o.option_value)
  FROM pg_catalog.pg_attribute a, pg_catalog.pg_options_to_table(a.attoptions) o WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I SET STORAGE %s', $2::text, a.attname, CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END)
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attstorage <> t.typstorage
UNION ALL
SELECT pg_catalog.format('ALTER TABLE %s REPLICA IDENTITY %s', $2::text, CASE relreplident WHEN 'f' THEN 'FULL' ELSE 'NOTHING' END) FROM it WHERE relreplident IN ('f', 'n')
