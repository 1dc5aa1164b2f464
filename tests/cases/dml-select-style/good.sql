INSERT INTO archive (id) SELECT id FROM orders WHERE id < 10;
