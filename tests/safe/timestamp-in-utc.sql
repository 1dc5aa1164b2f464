-- In UTC a timestamp and a timestamptz are the same eight bytes.
ALTER TABLE orders ALTER COLUMN placed TYPE timestamptz;
