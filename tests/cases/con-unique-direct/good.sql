ALTER TABLE orders ADD CONSTRAINT orders_qty_key UNIQUE USING INDEX orders_qty_key;
