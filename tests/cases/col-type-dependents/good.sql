DROP VIEW part_codes;
ALTER TABLE parts ALTER COLUMN code TYPE varchar(20);
CREATE VIEW part_codes AS SELECT id, code FROM parts;
