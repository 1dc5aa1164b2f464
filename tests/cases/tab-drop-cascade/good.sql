-- lockgate: phase=contract
DROP VIEW order_list;
DROP TABLE orders;
