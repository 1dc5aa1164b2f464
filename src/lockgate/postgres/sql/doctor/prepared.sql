-- Transactions prepared for two-phase commit: each keeps its locks and holds back vacuum until somebody ends it.
SELECT 'prepared-transaction', pg_catalog.quote_literal(p.gid), p.owner::text, pg_catalog.round(extract(epoch FROM pg_catalog.clock_timestamp() - p.prepared))::text
  FROM pg_catalog.pg_prepared_xacts p
 WHERE p.database = pg_catalog.current_database()
 ORDER BY p.prepared
