ALTER TABLE rates ADD COLUMN day date;
