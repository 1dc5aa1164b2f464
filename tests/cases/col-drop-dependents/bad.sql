-- lockgate: phase=contract
ALTER TABLE orders DROP COLUMN code CASCADE;
