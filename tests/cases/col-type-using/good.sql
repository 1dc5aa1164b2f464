ALTER TABLE orders ADD COLUMN code_length integer;
