ALTER TABLE orders ADD CONSTRAINT orders_id_key UNIQUE (id);
