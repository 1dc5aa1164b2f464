ALTER TABLE customers ADD COLUMN name text;
ALTER TABLE orders VALIDATE CONSTRAINT qty_positive;
