ALTER TABLE orders ADD COLUMN amount integer;
