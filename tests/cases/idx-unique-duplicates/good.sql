-- lockgate: transaction=off
CREATE UNIQUE INDEX CONCURRENTLY orders_id_code_key ON orders (id, code);
