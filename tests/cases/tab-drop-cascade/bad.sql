-- lockgate: phase=contract
DROP TABLE orders CASCADE;
