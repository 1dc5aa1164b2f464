CREATE INDEX orders_qty ON orders (qty);
