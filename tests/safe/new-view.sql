-- A new view locks nothing that anybody waits for.
CREATE VIEW paid_orders AS SELECT id, customer_id, total FROM orders WHERE state = 'paid';
