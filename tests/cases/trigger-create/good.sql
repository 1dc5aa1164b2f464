COMMENT ON TABLE orders IS 'one row an order';
