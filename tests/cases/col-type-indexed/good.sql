ALTER TABLE visits ADD COLUMN at_tz timestamptz;
