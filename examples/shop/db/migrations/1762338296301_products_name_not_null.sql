-- lockgate: phase=expand lock_timeout=2s statement_timeout=30s
-- Step 5: the valid CHECK proves it, so SET NOT NULL reads no row. After that the CHECK
-- says nothing new.

ALTER TABLE shop.products ALTER COLUMN name SET NOT NULL;
ALTER TABLE shop.products DROP CONSTRAINT products_name_is_set;

-- lockgate: down

ALTER TABLE shop.products ADD CONSTRAINT products_name_is_set CHECK (name IS NOT NULL);
ALTER TABLE shop.products ALTER COLUMN name DROP NOT NULL;
