-- lockgate: phase=expand
ALTER TABLE orders ADD COLUMN total numeric;
