-- How many more sessions this role may open here: of the server's, of the database's and of its own.
SELECT LEAST(
  (SELECT pg_catalog.current_setting('max_connections')::int - pg_catalog.current_setting('superuser_reserved_connections')::int - pg_catalog.count(*)
     FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend'),
  (SELECT CASE WHEN d.datconnlimit < 0 THEN 1000000 ELSE d.datconnlimit - (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid AND a.backend_type = 'client backend') END
     FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()),
  (SELECT CASE WHEN r.rolconnlimit < 0 THEN 1000000 ELSE r.rolconnlimit - (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity a WHERE a.usesysid = r.oid AND a.backend_type = 'client backend') END
     FROM pg_catalog.pg_roles r WHERE r.rolname = current_user))
