SET LOCAL orders.quiet = 'on';
