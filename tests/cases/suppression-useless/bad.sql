-- lockgate: allow=idx-create-blocking until=2999-01-01 reason="none"
ALTER TABLE orders ADD COLUMN a text;
