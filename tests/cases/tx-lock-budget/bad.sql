CREATE INDEX orders_qty ON orders (qty);
ALTER TABLE customers ADD CHECK (id > 0);
