CREATE TABLE items (id bigint, order_id bigint, open boolean, big boolean);
