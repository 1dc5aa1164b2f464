CREATE TABLE orders (id bigint NOT NULL, number bigint NOT NULL, CONSTRAINT orders_pkey PRIMARY KEY (id));
CREATE UNIQUE INDEX orders_number_key ON orders (number);
