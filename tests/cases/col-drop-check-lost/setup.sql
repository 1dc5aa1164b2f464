CREATE TABLE parts (id bigint PRIMARY KEY, qty integer, note text, code varchar(10));
ALTER TABLE parts ADD CONSTRAINT whole CHECK (qty > 0 AND note <> '');
