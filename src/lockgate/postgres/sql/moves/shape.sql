-- What must not change while a table is moved: columns, partitions, and that the capture of the move ($2, a name pattern) is on.
SELECT pg_catalog.md5(pg_catalog.concat_ws('|',
  (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(',', attnum, attname, atttypid::oid, atttypmod, attnotnull, attcollation, attgenerated), ';' ORDER BY attnum)
     FROM pg_catalog.pg_attribute WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped),
  (SELECT pg_catalog.string_agg(p.relid::oid::text, ',' ORDER BY p.relid::oid) FROM pg_catalog.pg_partition_tree($1::oid::regclass) p),
  (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(',', t.tgrelid, t.tgname, t.tgenabled), ';' ORDER BY t.tgrelid, t.tgname)
     FROM pg_catalog.pg_trigger t
    WHERE (t.tgrelid = $1::oid OR t.tgrelid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree($1::oid::regclass) p)) AND t.tgname LIKE $2::text)))
