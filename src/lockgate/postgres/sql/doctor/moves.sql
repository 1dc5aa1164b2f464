-- Moves that wait for a person: paused, or with rows that the target refused.
SELECT 'move-paused', m.name, m.stage_at::text, m.reason
  FROM lockgate.move m WHERE m.stage = 'paused'
UNION ALL
SELECT 'move-quarantine', q.move, CASE pg_catalog.count(*) WHEN 1 THEN '1 row' ELSE pg_catalog.count(*) || ' rows' END,
       pg_catalog.format('the first (%s): %s', pg_catalog.array_to_string((pg_catalog.array_agg(q.key::text ORDER BY q.at))[1:1], ''), (pg_catalog.array_agg(q.message ORDER BY q.at))[1])
  FROM lockgate.move_quarantine q JOIN lockgate.move m ON m.name = q.move AND m.stage NOT IN ('finished', 'aborted')
 GROUP BY q.move
 ORDER BY 1, 2
