ALTER TABLE orders ADD COLUMN quantity integer;
