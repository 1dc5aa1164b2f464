ALTER TABLE orders DROP CONSTRAINT qty_present;
