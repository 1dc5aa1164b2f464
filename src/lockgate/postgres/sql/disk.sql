-- How large the database and the cluster are, and where the server keeps them, as far as this role may know.
SELECT pg_catalog.pg_database_size(pg_catalog.current_database())::text,
       (SELECT CASE WHEN bool_and(pg_catalog.has_database_privilege(oid, 'CONNECT') OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE'))
                    THEN sum(CASE WHEN pg_catalog.has_database_privilege(oid, 'CONNECT') OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')
                                  THEN pg_catalog.pg_database_size(oid) END)::text END
          FROM pg_catalog.pg_database),
       (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'data_directory')
