-- The same bytes under another name.
ALTER TABLE customers ALTER COLUMN email TYPE text;
