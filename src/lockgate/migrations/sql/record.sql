-- The fence check and the history row, in the transaction of their effects. No row comes back when epoch $1 is over.
-- What follows the row is the session as the file left it (see check.sql), read in the same statement to save one.
-- /*CANONICAL*/ is replaced by the expression of history.py, so that writing and checking cannot differ.
WITH mine AS (
  SELECT f.head, f.ordinal FROM lockgate.fence f WHERE f.epoch = $1::bigint FOR UPDATE
), fresh AS (
  SELECT m.head AS prev_hash, m.ordinal + 1 AS ordinal, $2::text AS revision_id, $3::text AS checksum, $4::text AS name, $5::text AS phase,
         $6::text AS state, $7::text AS operator, $8::text AS run_id, $9::text AS release_id, pg_catalog.clock_timestamp() AS applied_at,
         COALESCE($10::timestamptz, pg_catalog.now()) AS started_at, pg_catalog.pg_current_xact_id()::text AS xid, $1::bigint AS epoch, $11::text AS tool_version,
         $12::text AS schema_digest, $13::text AS source_text
    FROM mine m
), timed AS (
  SELECT *, GREATEST(0, pg_catalog.round(extract(epoch FROM applied_at - started_at) * 1000))::bigint AS duration_ms FROM fresh
), sealed AS (
  SELECT *, pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(/*CANONICAL*/, 'UTF8')), 'hex') AS row_hash FROM timed
), moved AS (
  UPDATE lockgate.fence f
     SET head = s.row_hash, ordinal = s.ordinal, compat_floor = CASE s.phase WHEN 'contract' THEN s.revision_id ELSE f.compat_floor END
    FROM sealed s WHERE f.epoch = $1::bigint RETURNING f.epoch
)
INSERT INTO lockgate.migration_history (revision_id, applied_at, checksum, operator, name, ordinal, phase, state, started_at, duration_ms,
                                        run_id, release_id, xid, epoch, tool_version, schema_digest, source_text, prev_hash, row_hash)
SELECT s.revision_id, s.applied_at, s.checksum, s.operator, s.name, s.ordinal, s.phase, s.state, s.started_at, s.duration_ms,
       s.run_id, s.release_id, s.xid, s.epoch, s.tool_version, s.schema_digest, s.source_text, s.prev_hash, s.row_hash
  FROM sealed s, moved
RETURNING xid, row_hash, duration_ms::text,
       current_user::text, session_user::text, pg_catalog.current_setting('session_replication_role'), pg_catalog.current_setting('search_path'),
       pg_catalog.current_setting('lock_timeout'), pg_catalog.current_setting('statement_timeout'), pg_catalog.current_setting('lockgate.canary', true),
       CASE WHEN pg_catalog.pg_my_temp_schema() = 0 THEN 'false'
            ELSE EXISTS (SELECT FROM pg_catalog.pg_class t WHERE t.relnamespace = pg_catalog.pg_my_temp_schema())::text END,
       (SELECT pg_catalog.count(*) FILTER (WHERE l.pid = $14::integer AND l.classid = $15::bigint::oid AND l.objid = $16::bigint::oid AND l.objsubid = 1)::text || ' ' ||
               pg_catalog.count(*) FILTER (WHERE l.pid = pg_catalog.pg_backend_pid() AND l.classid = $17::bigint::oid AND l.objid = $18::bigint::oid AND l.objsubid = 1)::text || ' ' ||
               pg_catalog.count(*) FILTER (WHERE l.pid = pg_catalog.pg_backend_pid())::text
          FROM pg_catalog.pg_lock_status() l
         WHERE l.locktype = 'advisory' AND l.granted AND l.database = $19::oid)
