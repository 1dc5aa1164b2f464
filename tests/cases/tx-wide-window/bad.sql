ALTER TABLE orders ADD COLUMN note text;
COMMENT ON TABLE customers IS 'who buys';
ALTER TABLE orders ADD COLUMN size integer;
