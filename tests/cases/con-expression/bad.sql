ALTER TABLE orders ADD CONSTRAINT not_in_future CHECK (placed_at <= now()) NOT VALID;
