-- lockgate: phase=contract
ALTER TABLE orders ALTER COLUMN qty DROP NOT NULL;
