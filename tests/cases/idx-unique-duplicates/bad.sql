-- lockgate: transaction=off
CREATE UNIQUE INDEX CONCURRENTLY orders_code_key ON orders (code);
