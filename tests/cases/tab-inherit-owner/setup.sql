CREATE TABLE orders (id bigint PRIMARY KEY, tenant text);
CREATE TABLE archive (id bigint, tenant text);
