ALTER TABLE orders RENAME CONSTRAINT qty_present TO orders_qty_present;
