-- What is read of the room release before it is first used: the columns of its tables, and no row.

CREATE VIEW lockgate.approval AS SELECT
  NULL::text AS approval_id, NULL::text AS environment, NULL::text AS plan_hash, NULL::text AS approver, NULL::text AS role,
  NULL::timestamp with time zone AS approved_at, NULL::timestamp with time zone AS expires_at,
  NULL::timestamp with time zone AS revoked_at, NULL::boolean AS break_glass, NULL::text AS reason, NULL::text AS recorded_by,
  NULL::jsonb AS detail
 WHERE false;
CREATE VIEW lockgate.backup AS SELECT
  NULL::text AS backup_id, NULL::text AS environment, NULL::text AS provider, NULL::text AS state,
  NULL::timestamp with time zone AS started_at, NULL::timestamp with time zone AS finished_at, NULL::text AS lsn,
  NULL::text AS timeline, NULL::text AS system_identifier, NULL::text AS database_name, NULL::bigint AS size_bytes,
  NULL::text AS sha256, NULL::text AS location, NULL::timestamp with time zone AS verified_at, NULL::text AS verified_by,
  NULL::timestamp with time zone AS drilled_at, NULL::jsonb AS drill, NULL::text AS release_key, NULL::text AS message,
  NULL::jsonb AS detail
 WHERE false;
CREATE VIEW lockgate.lease AS SELECT
  NULL::text AS name, NULL::bigint AS token, NULL::text AS release_key, NULL::text AS holder,
  NULL::timestamp with time zone AS acquired_at, NULL::timestamp with time zone AS heartbeat_at,
  NULL::timestamp with time zone AS expires_at
 WHERE false;
CREATE VIEW lockgate.release AS SELECT
  NULL::text AS release_key, NULL::bigint AS sequence, NULL::text AS sha, NULL::text AS environment, NULL::text AS state,
  NULL::text AS reason_code, NULL::text AS message, NULL::text AS operator, NULL::text AS host, NULL::bigint AS token,
  NULL::text AS image_digest, NULL::text AS rollback_digest, NULL::text AS plan_hash, NULL::text AS base, NULL::text AS goal,
  NULL::text AS replay_reason, NULL::timestamp with time zone AS started_at, NULL::timestamp with time zone AS finished_at,
  NULL::text AS tool_version, NULL::jsonb AS options, NULL::jsonb AS details
 WHERE false;
CREATE VIEW lockgate.release_step AS SELECT
  NULL::text AS release_key, NULL::integer AS number, NULL::text AS name, NULL::text AS state, NULL::integer AS attempts,
  NULL::numeric AS limit_seconds, NULL::timestamp with time zone AS started_at, NULL::timestamp with time zone AS finished_at,
  NULL::text AS reason_code, NULL::text AS message, NULL::jsonb AS evidence
 WHERE false;
CREATE VIEW lockgate.release_event AS SELECT
  NULL::bigint AS id, NULL::timestamp with time zone AS at, NULL::text AS release_key, NULL::text AS kind, NULL::text AS actor,
  NULL::jsonb AS detail
 WHERE false;
