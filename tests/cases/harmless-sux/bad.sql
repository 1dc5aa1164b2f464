COMMENT ON TABLE orders IS 'one row an order';
CREATE STATISTICS id_and_code ON id, code FROM orders;
