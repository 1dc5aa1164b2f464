-- lockgate: phase=expand lock_timeout=2s statement_timeout=30s
-- Step 3: from here on no row may be written without a name.

ALTER TABLE shop.products
  ADD CONSTRAINT products_name_is_set CHECK (name IS NOT NULL) NOT VALID;

-- lockgate: down

ALTER TABLE shop.products DROP CONSTRAINT products_name_is_set;
