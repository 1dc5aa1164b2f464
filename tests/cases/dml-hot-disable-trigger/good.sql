UPDATE orders SET qty = 1 WHERE id = 1;
