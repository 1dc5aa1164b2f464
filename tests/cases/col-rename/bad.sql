ALTER TABLE orders RENAME COLUMN qty TO quantity;
