ALTER TABLE orders ADD COLUMN weight integer;
ALTER TABLE orders ADD CONSTRAINT weight_positive CHECK (weight > 0) NOT VALID;
