-- The lag of moves whose oldest operations that the other side lacks are $1: a list of (move, seconds since 1970).
SELECT 'move_lag', pg_catalog.jsonb_build_object('move', l.move)::text,
       GREATEST(0, COALESCE(extract(epoch FROM pg_catalog.clock_timestamp())::double precision - l.oldest, 0))::text
  FROM (VALUES $1) AS l (move, oldest)
