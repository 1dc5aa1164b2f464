CREATE TABLE parts (id bigint PRIMARY KEY, qty integer, note text, code varchar(10));
CREATE VIEW part_codes AS SELECT id, code FROM parts;
