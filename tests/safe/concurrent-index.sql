-- lockgate: transaction=off
-- Built beside the traffic, in a file of its own.
CREATE INDEX CONCURRENTLY orders_customer ON orders (customer_id);
