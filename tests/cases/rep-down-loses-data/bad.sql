ALTER TABLE orders ADD COLUMN note text;
-- lockgate: down
ALTER TABLE orders DROP COLUMN note;
