-- What must not change of a table that the application writes to both sides: columns and partitions. $1 its oid.
-- Whether a column may be NULL is left out: a target that takes fewer or more rows loses none, those that it refuses stand in quarantine.
SELECT pg_catalog.md5(pg_catalog.concat_ws('|',
  (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(',', attnum, attname, atttypid::oid, atttypmod, attcollation, attgenerated), ';' ORDER BY attnum)
     FROM pg_catalog.pg_attribute WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped),
  (SELECT pg_catalog.string_agg(p.relid::oid::text, ',' ORDER BY p.relid::oid) FROM pg_catalog.pg_partition_tree($1::oid::regclass) p)))
