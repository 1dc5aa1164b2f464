DROP TRIGGER orders_noted ON orders;
