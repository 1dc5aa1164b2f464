-- Which of the extensions $1 the current role cannot have: they are not on the server, or it may not make them. Asked for files
-- that need one only: the server reads the control file of every extension that it has.
SELECT 'extension', need.name, current_user::text, CASE WHEN a.name IS NULL THEN 'missing' ELSE 'privilege' END, ''
  FROM unnest($1::text[]) AS need(name)
  LEFT JOIN pg_catalog.pg_available_extensions a ON a.name = need.name
 WHERE a.name IS NULL OR (a.installed_version IS NULL AND pg_catalog.current_setting('is_superuser') = 'off'
       AND NOT (EXISTS (SELECT FROM pg_catalog.pg_available_extension_versions v WHERE v.name = a.name AND v.trusted)
                AND pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')))
 ORDER BY 2
