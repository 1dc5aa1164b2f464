UPDATE orders SET total = qty WHERE id BETWEEN 1 AND 1000;
-- next file
-- lockgate: phase=contract
ALTER TABLE orders DROP COLUMN qty;
