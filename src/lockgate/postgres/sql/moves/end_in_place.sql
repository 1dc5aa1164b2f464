-- A move in place is finished when its contract file took the triggers between both sides away.
WITH over AS (
  SELECT m.name FROM lockgate.move m
   WHERE m.declaration ->> 'kind' = 'in-place' AND m.stage = 'reconciled'
     AND NOT EXISTS (
       SELECT FROM pg_catalog.pg_trigger t
        WHERE t.tgrelid IN (m.source_oid, m.target_oid)
          AND t.tgname IN (SELECT pg_catalog.jsonb_array_elements_text(m.declaration -> 'sync' -> 'triggers')))
     AND EXISTS (
       SELECT FROM lockgate.migration_history h
        WHERE h.phase = 'contract' AND h.applied_at > m.reconciled_at AND h.source_text ~ ('after=move:' || m.name || '(\s|$)'))
), ended AS (
  UPDATE lockgate.move m SET stage = 'finished', stage_at = clock_timestamp(), finished_at = clock_timestamp()
    FROM over WHERE m.name = over.name RETURNING m.name
)
INSERT INTO lockgate.move_event (move, kind, from_stage, to_stage, reason)
SELECT name, 'step', 'reconciled', 'finished', 'in place: the contract file took the old side away' FROM ended
RETURNING move
