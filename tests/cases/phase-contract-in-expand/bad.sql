-- lockgate: phase=expand
ALTER TABLE orders DROP COLUMN qty;
