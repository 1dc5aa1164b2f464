ALTER TABLE orders ADD COLUMN note text;
ALTER TABLE customers ADD COLUMN note text;
-- next file
ALTER TABLE orders ADD COLUMN size text;
ALTER TABLE customers ADD COLUMN size text;
