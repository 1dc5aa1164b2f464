CREATE VIEW order_list_2 AS SELECT id, qty FROM orders;
