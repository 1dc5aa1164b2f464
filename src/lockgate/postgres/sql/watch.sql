-- One look at our work session $1: is it waiting for a lock, for what, and how many sessions queue behind it.
SELECT COALESCE((SELECT w.mode || ' on ' || COALESCE(w.relation::regclass::text, w.locktype) FROM pg_catalog.pg_locks w
                  WHERE w.pid = $1::integer AND NOT w.granted LIMIT 1), ''),
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity v
         WHERE v.datname = pg_catalog.current_database() AND v.wait_event_type = 'Lock' AND v.pid <> $1::integer
           AND $1::integer = ANY (pg_catalog.pg_blocking_pids(v.pid)))::text
