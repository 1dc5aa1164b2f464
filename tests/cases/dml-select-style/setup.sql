CREATE TABLE orders (id bigint PRIMARY KEY);
CREATE TABLE archive (id bigint PRIMARY KEY);
