CREATE TABLE orders (id bigint PRIMARY KEY, tenant text);
CREATE VIEW order_list AS TABLE orders;
