-- Comments stop nobody.
COMMENT ON TABLE orders IS 'what was bought';
COMMENT ON COLUMN orders.code IS 'as printed';
