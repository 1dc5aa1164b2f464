UPDATE orders SET total = qty WHERE total IS NULL AND id BETWEEN 1 AND 1000;
