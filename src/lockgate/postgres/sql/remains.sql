-- What the release $1 left of the files $2, within its own time: until a later release of its environment began. applied, steps, last sign of life.
WITH span AS (
  SELECT own.sha, own.started_at AS first,
         COALESCE((SELECT pg_catalog.min(r.started_at) FROM lockgate.release r WHERE r.environment = own.environment AND r.sequence > own.sequence), 'infinity') AS until
    FROM lockgate.release own WHERE own.release_key = $1
), sign AS (
  SELECT GREATEST(
           (SELECT first FROM span),
           (SELECT pg_catalog.max(GREATEST(s.started_at, s.finished_at)) FROM lockgate.release_step s WHERE s.release_key = $1),
           (SELECT pg_catalog.max(r.heartbeat_at) FROM lockgate.run r, span WHERE r.release_id = span.sha AND r.started_at >= span.first AND r.started_at < span.until),
           (SELECT l.heartbeat_at FROM lockgate.lease l WHERE l.release_key = $1)) AS last
)
SELECT COALESCE((SELECT pg_catalog.string_agg(h.revision_id, ',' ORDER BY h.ordinal) FROM lockgate.migration_history h, span, sign
                  WHERE h.revision_id = ANY ($2::text[]) AND h.applied_at >= span.first AND h.applied_at < span.until
                    AND (h.release_id = span.sha OR h.applied_at <= sign.last)), ''),
       COALESCE((SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(m.revision_id, m.number, m.state, m.statement) ORDER BY m.revision_id, m.number)
                   FROM lockgate.migration_step m, span
                  WHERE m.revision_id = ANY ($2::text[]) AND m.started_at >= span.first AND m.started_at < span.until
                    AND NOT EXISTS (SELECT FROM lockgate.migration_history h WHERE h.revision_id = m.revision_id AND h.applied_at < span.until)), '[]')::text,
       pg_catalog.to_char((SELECT last FROM sign) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
