-- lockgate: transaction=off
CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_code_idx ON orders (code);
