-- lockgate: allow=idx-create-blocking until=2999-01-01 reason="tiny"
CREATE INDEX orders_qty ON orders (qty);
