ALTER TABLE orders ADD COLUMN note text, ADD COLUMN size integer;
COMMENT ON TABLE customers IS 'who buys';
