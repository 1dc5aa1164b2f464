-- Moves in place that are reconciled, and whose triggers between both sides are not the ones that the proof was made with.
WITH sealed AS (
  SELECT DISTINCT ON (m.name) m.name, m.source_oid, m.target_oid, e.evidence -> 'sync' AS sync, e.at
    FROM lockgate.move m JOIN lockgate.move_event e ON e.move = m.name AND e.kind = 'sealed'
   WHERE m.declaration ->> 'kind' = 'in-place' AND m.stage = 'reconciled'
   ORDER BY m.name, e.id DESC
)
SELECT DISTINCT s.name
  FROM sealed s CROSS JOIN LATERAL pg_catalog.jsonb_each_text(s.sync) AS known(trigger, digest)
 WHERE NOT EXISTS (
   SELECT FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
    WHERE t.tgrelid IN (s.source_oid, s.target_oid) AND t.tgname = known.trigger AND t.tgenabled IN ('O', 'A')
      AND pg_catalog.md5(pg_catalog.concat_ws('|', pg_catalog.pg_get_triggerdef(t.oid), t.tgenabled, p.prosrc)) = known.digest)
   -- Its own contract file takes the triggers away, perhaps one after the other: that is no breach.
   AND NOT EXISTS (
   SELECT FROM lockgate.migration_history h
    WHERE h.phase = 'contract' AND h.applied_at > s.at AND h.source_text ~ ('after=move:' || s.name || '(\s|$)'))
