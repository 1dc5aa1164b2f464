-- One relation as data moves see it: columns with the built-in type below their domains, keys, size. $1 is its oid.
WITH RECURSIVE base AS (
  SELECT a.attnum, a.atttypid AS type, 0 AS depth FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT b.attnum, t.typbasetype, b.depth + 1 FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.type WHERE t.typtype = 'd'
), part AS (
  SELECT c.oid, c.relpages, c.reltuples, c.relkind FROM pg_catalog.pg_class c
   WHERE c.oid = $1::oid OR c.oid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree($1::oid::regclass) p)
)
SELECT pg_catalog.jsonb_build_object(
  'oid', c.oid::bigint, 'schema', n.nspname, 'name', c.relname, 'kind', c.relkind,
  'access_method', (SELECT m.amname FROM pg_catalog.pg_am m WHERE m.oid = c.relam),
  'owner', pg_catalog.pg_get_userbyid(c.relowner),
  'rows', (SELECT CASE WHEN count(*) FILTER (WHERE reltuples < 0 AND relkind = 'r') > 0 THEN -1 ELSE COALESCE(sum(GREATEST(reltuples, 0)) FILTER (WHERE relkind <> 'p'), 0) END::bigint FROM part),
  'bytes', (SELECT COALESCE(sum(pg_catalog.pg_relation_size(oid)), 0)::bigint FROM part WHERE relkind IN ('r', 'm')),
  'replica_identity', c.relreplident,
  'partition_key', CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END,
  'columns', COALESCE((SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
      'name', a.attname, 'type', pg_catalog.format_type(a.atttypid, a.atttypmod), 'not_null', a.attnotnull,
      'generated', a.attgenerated <> '', 'identity', a.attidentity, 'default', pg_catalog.pg_get_expr(d.adbin, d.adrelid),
      'base', pg_catalog.format_type(t.oid, NULL), 'base_schema', tn.nspname, 'type_schema', dn.nspname, 'category', t.typcategory, 'class', t.typtype,
      'sequence', pg_catalog.pg_get_serial_sequence(pg_catalog.format('%I.%I', n.nspname, c.relname), a.attname),
      'collation', (SELECT pg_catalog.format('%I.%I', cn.nspname, co.collname) FROM pg_catalog.pg_collation co JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace WHERE co.oid = a.attcollation AND a.attcollation <> declared.typcollation),
      -- What record_send can send without an oid of this database in it: built-in types, their arrays included, domains not.
      'portable', t.oid = a.atttypid AND t.oid < 16384 AND t.typsend <> 0 AND t.typtype IN ('b', 'r', 'm') AND t.typname NOT LIKE 'reg%' AND t.typname NOT IN ('_regclass', 'aclitem', '_aclitem')
    ) ORDER BY a.attnum)
    FROM pg_catalog.pg_attribute a
    JOIN LATERAL (SELECT b.type FROM base b WHERE b.attnum = a.attnum ORDER BY b.depth DESC LIMIT 1) deepest ON true
    JOIN pg_catalog.pg_type t ON t.oid = deepest.type
    JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace
    JOIN pg_catalog.pg_type declared ON declared.oid = a.atttypid
    JOIN pg_catalog.pg_namespace dn ON dn.oid = declared.typnamespace
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
   WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]'),
  'uniques', COALESCE((SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
      'name', ic.relname, 'primary', i.indisprimary,
      'columns', (SELECT pg_catalog.jsonb_agg(a.attname ORDER BY k.place) FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY k(num, place) JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.num WHERE k.place <= i.indnkeyatts),
      'not_null', (SELECT pg_catalog.bool_and(a.attnotnull) FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY k(num, place) JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.num WHERE k.place <= i.indnkeyatts)
    ) ORDER BY i.indisprimary DESC, i.indnkeyatts, ic.relname)
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
   WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indimmediate), '[]'))::text
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = $1::oid
