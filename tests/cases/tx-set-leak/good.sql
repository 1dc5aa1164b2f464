-- lockgate: transaction=off
SET maintenance_work_mem = '64MB';
CREATE INDEX CONCURRENTLY orders_qty ON orders (qty);
