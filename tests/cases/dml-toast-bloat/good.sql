UPDATE orders SET doc = doc || '{"v": 2}' WHERE id BETWEEN 1 AND 1000;
