-- While the schema is not recorded for the head of the history: what was recorded last, what a run since then saw apart from that
-- before it began, the texts of all files applied since, and which tables have what parent. No row where that row of the history is gone.
SELECT s.objects::text,
       (SELECT r.details -> 'apart' -> 'objects' FROM lockgate.run r WHERE r.details -> 'apart' ->> 'head' = f.schema_head ORDER BY r.started_at DESC LIMIT 1)::text,
       (SELECT pg_catalog.json_agg(n.source_text ORDER BY n.ordinal) FROM lockgate.migration_history n WHERE n.ordinal > h.ordinal)::text,
       (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(p.relname, c.relname)) FROM pg_catalog.pg_inherits i
          JOIN pg_catalog.pg_class p ON p.oid = i.inhparent JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid WHERE c.relkind IN ('r', 'p', 'f'))::text
  FROM lockgate.fence f
  JOIN lockgate.migration_history h ON h.row_hash = f.schema_head
  JOIN lockgate.schema_snapshot s ON s.head = f.schema_head AND s.digest = f.schema_digest
