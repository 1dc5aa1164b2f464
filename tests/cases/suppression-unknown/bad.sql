-- lockgate: allow=idx-creat until=2999-01-01 reason="typo"
CREATE INDEX orders_qty ON orders (qty);
