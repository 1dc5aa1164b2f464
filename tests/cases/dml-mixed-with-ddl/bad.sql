CREATE TABLE notes (id bigint PRIMARY KEY);
DELETE FROM orders WHERE id < 10;
