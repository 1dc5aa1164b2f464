ALTER TABLE orders ADD COLUMN type text;
