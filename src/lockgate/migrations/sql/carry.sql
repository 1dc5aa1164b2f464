-- The recorded schema now belongs to the head as an amendment left it ($1: the epoch of the run that amended).
WITH f AS (
  SELECT f.schema_head AS old, f.head AS new FROM lockgate.fence f WHERE f.epoch = $1::bigint AND f.schema_head IS NOT NULL FOR UPDATE
), s AS (
  UPDATE lockgate.schema_snapshot s SET head = f.new FROM f WHERE s.head = f.old AND f.old <> f.new
)
UPDATE lockgate.fence t SET schema_head = f.new FROM f WHERE t.epoch = $1::bigint
