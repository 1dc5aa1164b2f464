-- The figures that stand in tables of format 3.
SELECT 'intents', pg_catalog.jsonb_build_object('state', s.state)::text, (SELECT count(*) FROM lockgate.write_intent w WHERE w.state = s.state)::text
  FROM (VALUES ('queued'), ('held')) AS s (state)
UNION ALL
SELECT 'move_lag', pg_catalog.jsonb_build_object('move', l.move)::text, pg_catalog.max(l.seconds)::text FROM lockgate.move_lag_v1() l GROUP BY l.move
