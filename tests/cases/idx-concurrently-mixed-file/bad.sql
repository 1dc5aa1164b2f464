-- lockgate: transaction=off
CREATE INDEX CONCURRENTLY orders_customer_id_idx ON orders (customer_id);
COMMENT ON TABLE orders IS 'one row an order';
