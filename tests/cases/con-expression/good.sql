ALTER TABLE orders ADD CONSTRAINT after_start CHECK (placed_at >= '2020-01-01Z') NOT VALID;
