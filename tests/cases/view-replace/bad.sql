CREATE OR REPLACE VIEW order_list AS SELECT id, qty FROM orders;
