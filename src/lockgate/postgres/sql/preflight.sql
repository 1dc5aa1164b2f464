-- What the current role lacks of the needs $1 (kinds) and $2 (names), two arrays of equal length. Only what is missing comes back.
SELECT need.kind, need.name, current_user::text,
       CASE WHEN closed.nspname IS NULL THEN 'privilege' ELSE 'schema' END,
       COALESCE(closed.nspname::text, pg_catalog.pg_get_userbyid(c.relowner)::text, '')
  FROM unnest($1::text[], $2::text[]) AS need(kind, name)
  -- to_regclass raises where the role may not look into the schema.
  LEFT JOIN LATERAL (SELECT s.nspname FROM pg_catalog.pg_namespace s
                      WHERE CASE WHEN need.kind = 'own' AND pg_catalog.cardinality(pg_catalog.parse_ident(need.name)) = 2
                                 THEN s.nspname = (pg_catalog.parse_ident(need.name))[1] AND NOT pg_catalog.has_schema_privilege(s.oid, 'USAGE') END) AS closed ON true
  LEFT JOIN pg_catalog.pg_class c ON c.oid = CASE WHEN need.kind = 'own' AND closed.nspname IS NULL THEN pg_catalog.to_regclass(need.name) END
  LEFT JOIN pg_catalog.pg_namespace n ON need.kind = 'create' AND n.nspname = COALESCE(NULLIF(need.name, ''), pg_catalog.current_schema())
 WHERE CASE need.kind
         WHEN 'schema' THEN NOT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')
                            AND pg_catalog.to_regnamespace(pg_catalog.quote_ident(need.name)) IS NULL
         WHEN 'create' THEN n.oid IS NOT NULL AND NOT pg_catalog.has_schema_privilege(n.oid, 'CREATE')
         WHEN 'own' THEN closed.nspname IS NOT NULL OR c.oid IS NOT NULL AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')
       END
 ORDER BY 1, 2
