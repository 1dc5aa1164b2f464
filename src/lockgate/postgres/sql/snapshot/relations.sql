-- Tables, views, sequences and composite types with size, use and age; nothing of their rows. Estimates, never counts.
SELECT pg_catalog.row_to_json(found)::text
  FROM (
    SELECT n.nspname AS schema, c.relname AS name, c.relkind AS kind, c.relpersistence AS persistence,
           c.relispartition AS partition, CASE WHEN c.relkind IN ('r', 'p', 'm') THEN c.relreplident ELSE 'd' END AS replica_identity, c.relrowsecurity AS row_security,
           pg_catalog.pg_get_userbyid(c.relowner) AS owner, COALESCE(s.spcname, '') AS tablespace,
           CASE WHEN c.relkind IN ('r', 'm') THEN
             CASE WHEN c.reltuples > 0 THEN c.reltuples::bigint WHEN u.n_live_tup > 0 THEN u.n_live_tup
                  WHEN c.reltuples = 0 OR pg_catalog.pg_relation_size(c.oid) = 0 THEN 0 ELSE -1 END
             ELSE -1 END AS rows,
           CASE WHEN c.relkind IN ('r', 'm') THEN COALESCE(pg_catalog.pg_total_relation_size(c.oid), -1) ELSE -1 END AS bytes,
           CASE WHEN c.relkind IN ('r', 'm') AND c.relfrozenxid <> '0'::xid THEN pg_catalog.age(c.relfrozenxid) ELSE -1 END AS age,
           COALESCE(u.seq_scan + COALESCE(u.idx_scan, 0), -1) AS reads,
           COALESCE(u.n_tup_ins + u.n_tup_upd + u.n_tup_del, -1) AS writes,
           (SELECT pg_catalog.json_build_array(tn.nspname, t.typname) FROM pg_catalog.pg_type t
              JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace WHERE t.oid = c.reloftype) AS of_type,
           COALESCE((SELECT pg_catalog.json_agg(pg_catalog.json_build_array(pn.nspname, p.relname) ORDER BY i.inhseqno)
                       FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
                       JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace WHERE i.inhrelid = c.oid), '[]') AS parents,
           EXISTS (SELECT FROM pg_catalog.pg_partitioned_table d WHERE d.partdefid = c.oid) AS default_partition,
           COALESCE((SELECT pg_catalog.json_agg(COALESCE(a.attname, '') ORDER BY k.place)
                       FROM pg_catalog.pg_partitioned_table d
                       CROSS JOIN LATERAL pg_catalog.unnest(d.partattrs::int2[]) WITH ORDINALITY AS k(number, place)
                       LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number AND k.number > 0
                      WHERE d.partrelid = c.oid), '[]') AS partition_columns,
           EXISTS (SELECT FROM pg_catalog.pg_partitioned_table d
                     CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(d.partattrs::int2[]), pg_catalog.unnest(d.partclass::oid[]),
                                                   pg_catalog.unnest(d.partcollation::oid[])) AS k(number, class, ordering)
                     JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number AND k.number > 0
                     JOIN pg_catalog.pg_opclass o ON o.oid = k.class
                    WHERE d.partrelid = c.oid AND (NOT o.opcdefault OR k.ordering <> a.attcollation)) AS partition_order,
           CASE WHEN c.relkind IN ('v', 'm') THEN pg_catalog.pg_get_viewdef(c.oid) ELSE '' END AS definition,
           COALESCE(pg_catalog.pg_get_expr(c.relpartbound, c.oid), '') AS bound,
           (SELECT pg_catalog.json_build_array(tn.nspname, t.relname) FROM pg_catalog.pg_depend o
              JOIN pg_catalog.pg_class t ON t.oid = o.refobjid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
             WHERE c.relkind = 'S' AND o.classid = 'pg_class'::regclass AND o.objid = c.oid
               AND o.refclassid = 'pg_class'::regclass AND o.refobjsubid > 0 AND o.deptype IN ('a', 'i') LIMIT 1) AS owner_table,
           COALESCE((SELECT a.attname FROM pg_catalog.pg_depend o
              JOIN pg_catalog.pg_attribute a ON a.attrelid = o.refobjid AND a.attnum = o.refobjsubid
             WHERE c.relkind = 'S' AND o.classid = 'pg_class'::regclass AND o.objid = c.oid
               AND o.refclassid = 'pg_class'::regclass AND o.refobjsubid > 0 AND o.deptype IN ('a', 'i') LIMIT 1), '') AS owner_column
      FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_catalog.pg_tablespace s ON s.oid = c.reltablespace
      LEFT JOIN pg_catalog.pg_stat_all_tables u ON u.relid = c.oid
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c') AND c.relpersistence <> 't'
       AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'lockgate')
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
     ORDER BY c.oid
  ) AS found
