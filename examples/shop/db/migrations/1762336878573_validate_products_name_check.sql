-- lockgate: phase=expand lock_timeout=2s statement_timeout=5min
-- lockgate: estimate rows=18000 seconds=1
-- Step 4: the proof that no product was missed; it fails if one was.

ALTER TABLE shop.products VALIDATE CONSTRAINT products_name_is_set;

-- lockgate: down

ALTER TABLE shop.products DROP CONSTRAINT products_name_is_set;
ALTER TABLE shop.products
  ADD CONSTRAINT products_name_is_set CHECK (name IS NOT NULL) NOT VALID;
