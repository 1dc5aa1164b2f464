CREATE TABLE items (open boolean, id bigint, big boolean, order_id bigint);
