ALTER TABLE legacy ADD COLUMN note text;
