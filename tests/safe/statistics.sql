-- Statistics targets and extended statistics let reads and writes go on.
ALTER TABLE orders ALTER COLUMN code SET STATISTICS 500;
CREATE STATISTICS orders_code_total ON code, total FROM orders;
