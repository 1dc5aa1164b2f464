-- lockgate: transaction=off
SET statement_timeout = '1h';
CREATE INDEX CONCURRENTLY orders_code_idx ON orders (code);
