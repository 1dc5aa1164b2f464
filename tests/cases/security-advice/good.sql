CREATE VIEW order_list WITH (security_invoker) AS SELECT id FROM orders;
