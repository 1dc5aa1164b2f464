COMMENT ON POLICY own_rows ON orders IS 'a tenant sees its own rows';
