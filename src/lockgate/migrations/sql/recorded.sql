-- The schema that the newest run left: head of the history, head and digest of the schema, the objects, the run under way.
SELECT f.head, COALESCE(f.schema_head, ''), COALESCE(f.schema_digest, ''), s.objects::text,
       COALESCE((SELECT r.run_id FROM lockgate.run r WHERE r.run_id = f.run_id AND r.state = 'running'), '')
  FROM lockgate.fence f LEFT JOIN lockgate.schema_snapshot s ON s.head = f.head AND s.digest = f.schema_digest
