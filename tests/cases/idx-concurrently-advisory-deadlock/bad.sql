-- lockgate: transaction=off
SELECT pg_advisory_lock(4711);
CREATE INDEX CONCURRENTLY orders_code_idx ON orders (code);
