ALTER TABLE orders ADD COLUMN amount integer;
ALTER TABLE orders DROP COLUMN qty;
