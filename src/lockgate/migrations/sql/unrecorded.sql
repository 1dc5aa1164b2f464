-- While the schema is not recorded for the head of the history: what was recorded last, what a run since then saw apart from that
-- before it began, and the texts of all files applied since. No row where that row of the history is gone.
SELECT s.objects::text,
       (SELECT r.details -> 'apart' -> 'objects' FROM lockgate.run r WHERE r.details -> 'apart' ->> 'head' = f.schema_head ORDER BY r.started_at DESC LIMIT 1)::text,
       (SELECT pg_catalog.json_agg(n.source_text ORDER BY n.ordinal) FROM lockgate.migration_history n WHERE n.ordinal > h.ordinal)::text
  FROM lockgate.fence f
  JOIN lockgate.migration_history h ON h.row_hash = f.schema_head
  JOIN lockgate.schema_snapshot s ON s.head = f.schema_head AND s.digest = f.schema_digest
