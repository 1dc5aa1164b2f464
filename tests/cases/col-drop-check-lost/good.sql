-- lockgate: phase=contract
ALTER TABLE parts ADD CONSTRAINT qty_positive CHECK (qty > 0) NOT VALID;
ALTER TABLE parts DROP COLUMN note;
