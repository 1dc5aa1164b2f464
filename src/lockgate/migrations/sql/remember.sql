-- The schema as the run with epoch $1 leaves it, kept for the head of the history. No row comes back when that epoch is over.
WITH mine AS (
  SELECT f.head FROM lockgate.fence f WHERE f.epoch = $1::bigint FOR UPDATE
), kept AS (
  INSERT INTO lockgate.schema_snapshot AS s (head, revision_id, digest, objects)
  SELECT m.head, $2::text, $3::text, $4::jsonb FROM mine m
  ON CONFLICT (head) DO UPDATE
     SET revision_id = excluded.revision_id, digest = excluded.digest, objects = excluded.objects, taken_at = pg_catalog.clock_timestamp()
  RETURNING s.head
), dropped AS (
  DELETE FROM lockgate.schema_snapshot s
   USING kept k
   WHERE s.head IN (SELECT o.head FROM lockgate.schema_snapshot o WHERE o.head <> k.head ORDER BY o.taken_at DESC OFFSET 4)
)
UPDATE lockgate.fence f SET schema_head = k.head, schema_digest = $3::text
  FROM kept k WHERE f.epoch = $1::bigint
RETURNING f.schema_digest
