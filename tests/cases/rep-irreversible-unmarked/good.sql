-- lockgate: phase=contract
DELETE FROM orders WHERE id < 10;
