ALTER TABLE orders ADD COLUMN twice integer;
