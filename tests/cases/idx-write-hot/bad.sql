-- lockgate: transaction=off
CREATE INDEX CONCURRENTLY orders_qty_idx ON orders (qty);
