-- The session as a file left it, and whether both locks are still held: guard session $1 with key halves $2 $3, work key $4 $5.
SELECT current_user::text, session_user::text, pg_catalog.current_setting('session_replication_role'), pg_catalog.current_setting('search_path'),
       pg_catalog.current_setting('lock_timeout'), pg_catalog.current_setting('statement_timeout'), pg_catalog.current_setting('lockgate.canary', true),
       CASE WHEN pg_catalog.pg_my_temp_schema() = 0 THEN 'false' ELSE EXISTS (SELECT FROM pg_catalog.pg_class t WHERE t.relnamespace = pg_catalog.pg_my_temp_schema())::text END,
       pg_catalog.count(*) FILTER (WHERE l.pid = $1::integer AND l.classid = $2::bigint::oid AND l.objid = $3::bigint::oid AND l.objsubid = 1),
       pg_catalog.count(*) FILTER (WHERE l.pid = pg_catalog.pg_backend_pid() AND l.classid = $4::bigint::oid AND l.objid = $5::bigint::oid AND l.objsubid = 1),
       pg_catalog.count(*) FILTER (WHERE l.pid = pg_catalog.pg_backend_pid())
  FROM pg_catalog.pg_locks l
 WHERE l.locktype = 'advisory' AND l.granted AND l.database = $6::oid
