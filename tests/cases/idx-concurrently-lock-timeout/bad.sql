-- lockgate: transaction=off
SET lock_timeout = '2s';
CREATE INDEX CONCURRENTLY orders_code_idx ON orders (code);
