-- What is read of the room moves before it is first used: the columns of its tables, and no row.

CREATE VIEW lockgate.move AS SELECT
  NULL::text AS name, NULL::text AS stage, NULL::text AS resume_stage, NULL::text AS reason, NULL::text AS switching,
  NULL::jsonb AS declaration, NULL::text AS declaration_hash, NULL::oid AS source_oid, NULL::oid AS target_oid,
  NULL::boolean AS same_database, NULL::boolean AS target_created, NULL::text AS source_shape, NULL::text AS target_shape,
  NULL::bigint AS epoch, NULL::integer AS round, NULL::text[] AS cursor_key, NULL::boolean AS cursor_done,
  NULL::bigint AS rows_estimate, NULL::text AS operator, NULL::timestamp with time zone AS started_at,
  NULL::timestamp with time zone AS stage_at, NULL::timestamp with time zone AS reconciled_at,
  NULL::timestamp with time zone AS cutover_at, NULL::numeric AS cutover_ms, NULL::timestamp with time zone AS rollback_until,
  NULL::timestamp with time zone AS finished_at
 WHERE false;
CREATE VIEW lockgate.move_event AS SELECT
  NULL::bigint AS id, NULL::text AS move, NULL::timestamp with time zone AS at, NULL::text AS kind, NULL::text AS from_stage,
  NULL::text AS to_stage, NULL::text AS reason, NULL::text AS operator, NULL::jsonb AS evidence
 WHERE false;
CREATE VIEW lockgate.move_range AS SELECT
  NULL::text AS move, NULL::integer AS number, NULL::text[] AS low, NULL::text[] AS high, NULL::text AS state,
  NULL::text AS lease_owner, NULL::timestamp with time zone AS lease_until, NULL::integer AS attempt, NULL::bigint AS rows_source,
  NULL::bigint AS rows_target, NULL::text AS digest_source, NULL::text AS digest_target, NULL::boolean AS equal,
  NULL::text AS algorithm, NULL::bigint AS epoch, NULL::double precision AS seconds, NULL::text AS message,
  NULL::timestamp with time zone AS finished_at
 WHERE false;
CREATE VIEW lockgate.move_quarantine AS SELECT
  NULL::text AS move, NULL::text AS feed, NULL::text[] AS key, NULL::text AS sqlstate, NULL::text AS message,
  NULL::timestamp with time zone AS at
 WHERE false;
CREATE VIEW lockgate.move_switch AS SELECT
  NULL::text AS move, NULL::text AS serves, NULL::bigint AS epoch, NULL::timestamp with time zone AS switched_at
 WHERE false;
CREATE VIEW lockgate.move_shadow AS SELECT
  NULL::bigint AS id, NULL::text AS move, NULL::timestamp with time zone AS at, NULL::text AS query, NULL::boolean AS equal,
  NULL::double precision AS old_ms, NULL::double precision AS new_ms, NULL::text AS difference, NULL::text AS error
 WHERE false;
CREATE VIEW lockgate.backfill_jobs AS SELECT
  NULL::text AS move, NULL::text AS stage, NULL::integer AS round, NULL::bigint AS rows_estimate, NULL::bigint AS migrated_rows,
  NULL::bigint AS ranges_copied, NULL::bigint AS ranges_running, NULL::bigint AS ranges_abandoned, NULL::bigint AS ranges_failed,
  NULL::bigint AS ranges_equal, NULL::boolean AS all_ranges_known, NULL::double precision AS progress,
  NULL::double precision AS rows_per_second, NULL::double precision AS eta_seconds,
  NULL::timestamp with time zone AS last_checkpoint, NULL::text AS last_error, NULL::bigint AS quarantined
 WHERE false;
