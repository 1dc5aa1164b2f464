-- lockgate: transaction=off
CREATE INDEX CONCURRENTLY orders_wide_idx ON orders (customer_id, code, qty, placed_at);
