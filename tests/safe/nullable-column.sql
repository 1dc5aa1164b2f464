-- A column that may be NULL costs a moment.
ALTER TABLE orders ADD COLUMN IF NOT EXISTS comment text;
