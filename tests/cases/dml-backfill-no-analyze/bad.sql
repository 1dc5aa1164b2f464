UPDATE orders SET total = qty WHERE total IS NULL;
