ALTER TABLE orders ADD COLUMN total numeric;
UPDATE orders SET total = qty WHERE id > 0;
