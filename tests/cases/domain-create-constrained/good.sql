CREATE TABLE items (id bigint PRIMARY KEY, qty integer CHECK (qty > 0));
