ALTER TABLE parts ALTER COLUMN code TYPE varchar(20);
