UPDATE orders SET qty = 0;
