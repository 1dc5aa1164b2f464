UPDATE orders SET doc = doc || '{"v": 2}' WHERE doc IS NOT NULL;
