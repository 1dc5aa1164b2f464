ALTER VIEW order_list RENAME TO purchases;
