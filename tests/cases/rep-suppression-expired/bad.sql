-- lockgate: allow=idx-create-blocking until=2001-01-01 reason="old"
CREATE INDEX orders_qty ON orders (qty);
