-- What is read of the room indexes before it is first used: the columns of its tables, and no row.

CREATE VIEW lockgate.index_generation AS SELECT
  NULL::text AS name, NULL::text AS generation, NULL::text AS store, NULL::text AS place, NULL::text AS state,
  NULL::boolean AS live, NULL::text AS spec_hash, NULL::text AS manifest, NULL::text AS embedder, NULL::jsonb AS canary,
  NULL::bigint AS records, NULL::text AS content_root, NULL::text AS index_hash, NULL::text AS scan_digest,
  NULL::timestamp with time zone AS started_at, NULL::timestamp with time zone AS sealed_at, NULL::text AS verdict,
  NULL::timestamp with time zone AS validated_at, NULL::jsonb AS validation
 WHERE false;
CREATE VIEW lockgate.index_alias AS SELECT
  NULL::text AS name, NULL::text AS generation, NULL::text AS previous, NULL::bigint AS epoch,
  NULL::timestamp with time zone AS swapped_at, NULL::timestamp with time zone AS rollback_until, NULL::jsonb AS pending
 WHERE false;
CREATE VIEW lockgate.index_event AS SELECT
  NULL::bigint AS id, NULL::timestamp with time zone AS at, NULL::text AS name, NULL::text AS kind, NULL::text AS from_generation,
  NULL::text AS to_generation, NULL::text AS actor, NULL::double precision AS elapsed_ms, NULL::jsonb AS details
 WHERE false;
