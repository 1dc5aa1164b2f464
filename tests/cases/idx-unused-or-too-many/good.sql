-- lockgate: transaction=off
DROP INDEX CONCURRENTLY orders_1_idx;
