-- Transactions prepared for two-phase commit: each keeps its locks and holds back vacuum until somebody ends it.
SELECT 'prepared-transaction', quote_literal(p.gid), p.owner::text, round(extract(epoch FROM clock_timestamp() - p.prepared))::text
  FROM pg_catalog.pg_prepared_xacts p
 WHERE p.database = current_database()
 ORDER BY p.prepared
