-- A constant default is kept in the catalogue; no row is written.
ALTER TABLE orders ADD COLUMN weight integer NOT NULL DEFAULT 0;
