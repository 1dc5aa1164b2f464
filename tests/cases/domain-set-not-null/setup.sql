CREATE DOMAIN positive AS integer;
CREATE TABLE items (id bigint PRIMARY KEY, qty positive);
