CREATE TABLE orders (id bigint PRIMARY KEY, code text, qty integer);
ALTER TABLE orders ADD CONSTRAINT qty_present CHECK (qty IS NOT NULL);
ALTER TABLE orders ADD CONSTRAINT code_present CHECK (code IS NOT NULL);
ALTER TABLE orders ADD CONSTRAINT orders_code_key UNIQUE (code);
