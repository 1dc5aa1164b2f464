ALTER TABLE orders ADD COLUMN shown text;
