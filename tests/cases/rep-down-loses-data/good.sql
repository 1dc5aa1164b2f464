CREATE VIEW big_orders AS SELECT id FROM orders WHERE qty > 9;
-- lockgate: down
DROP VIEW big_orders;
