ALTER TABLE orders ADD COLUMN owner_name name;
