COMMENT ON TABLE orders IS 'rows are kept';
