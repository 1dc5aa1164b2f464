-- now() is worked out once, when the column is added.
ALTER TABLE orders ADD COLUMN seen_at timestamptz NOT NULL DEFAULT now();
