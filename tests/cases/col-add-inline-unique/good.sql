ALTER TABLE orders ADD COLUMN slug text;
