ALTER TABLE orders ADD CONSTRAINT orders_customer_fk FOREIGN KEY (short_id) REFERENCES customers (id) NOT VALID;
