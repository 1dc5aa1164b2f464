-- The server around the schema. $1 is the role that runs the migrations; where it does not exist, the current one stands in
-- when it owns something or may do everything. A role that only reads says nothing about who migrates.
SELECT pg_catalog.row_to_json(found)::text
  FROM (
    SELECT pg_catalog.current_setting('server_version_num')::int / 10000 AS version,
           COALESCE(m.rolname, '') AS role, COALESCE(m.rolsuper, false) AS superuser,
           COALESCE((SELECT pg_catalog.json_agg(r.rolname ORDER BY r.rolname) FROM pg_catalog.pg_roles r
                      WHERE r.rolname !~ '^pg_' AND NOT m.rolsuper AND pg_catalog.pg_has_role(m.oid, r.oid, 'MEMBER')), '[]') AS memberships,
           pg_catalog.current_setting('max_locks_per_transaction')::bigint
             * (pg_catalog.current_setting('max_connections')::bigint + pg_catalog.current_setting('max_prepared_transactions')::bigint) AS max_locks,
           (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_replication s WHERE COALESCE(s.state, 'streaming') IN ('streaming', 'catchup')
               AND NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots o WHERE o.active_pid = s.pid AND o.slot_type = 'logical')) AS standbys,
           pg_catalog.current_setting('autovacuum_freeze_max_age')::bigint AS freeze_max_age,
           (SELECT COALESCE(pg_catalog.json_agg(e.name ORDER BY e.name), '[]') FROM pg_catalog.pg_available_extensions e) AS available_extensions,
           (SELECT GREATEST(1, extract(epoch FROM pg_catalog.now() - COALESCE(d.stats_reset, pg_catalog.pg_postmaster_start_time())))::float8
              FROM pg_catalog.pg_stat_database d WHERE d.datname = pg_catalog.current_database()) AS seconds,
           EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                    WHERE n.nspname = 'lockgate' AND c.relname = 'migration_history') AS home
      FROM (SELECT 1) AS one
      LEFT JOIN pg_catalog.pg_roles m
        ON m.rolname = CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_roles x WHERE x.rolname = $1) THEN $1
                            WHEN pg_catalog.current_setting('is_superuser') = 'on'
                              OR EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_roles x ON x.oid = c.relowner WHERE x.rolname = current_user)
                            THEN current_user END
  ) AS found
