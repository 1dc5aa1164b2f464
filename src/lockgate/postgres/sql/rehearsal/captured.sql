-- What applications asked this database: the text with $n, how often, how long on average.
SELECT s.query, pg_catalog.sum(s.calls)::bigint::text, (pg_catalog.sum(s.total_exec_time) / greatest(pg_catalog.sum(s.calls), 1))::numeric(20, 3)::text
  FROM /*SCHEMA*/pg_stat_statements s JOIN pg_catalog.pg_roles r ON r.oid = s.userid
 WHERE s.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
   AND ($1 = '' OR r.rolname = $1) AND s.toplevel AND s.query NOT LIKE '%lockgate.%' AND s.query NOT ILIKE '%pg_catalog.%'
 GROUP BY s.query HAVING pg_catalog.sum(s.calls) >= $2::bigint
 ORDER BY pg_catalog.sum(s.calls) DESC, s.query
