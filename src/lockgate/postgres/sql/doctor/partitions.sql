-- Partitions whose DETACH CONCURRENTLY stopped half way: queries skip them, new partitions may not overlap them.
SELECT 'detach-pending', i.inhrelid::regclass::text, i.inhparent::regclass::text
  FROM pg_catalog.pg_inherits i
 WHERE i.inhdetachpending
 ORDER BY 2
