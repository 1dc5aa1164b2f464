-- lockgate: phase=expand transaction=off lock_timeout=2s statement_timeout=2min
-- lockgate: estimate rows=18000 seconds=2
-- Step 2: the products from before the trigger, by key range, each range committed by
-- itself. Repeating a range changes nothing. updated_at moves too: the search feed reads
-- the catalogue once more, which it was to do anyway.

UPDATE shop.products SET name = title WHERE id <= 5000 AND name IS NULL;
UPDATE shop.products SET name = title WHERE id > 5000 AND id <= 10000 AND name IS NULL;
UPDATE shop.products SET name = title WHERE id > 10000 AND id <= 15000 AND name IS NULL;
UPDATE shop.products SET name = title WHERE id > 15000 AND name IS NULL;

ANALYZE shop.products;

-- lockgate: down

-- Nothing to take back: the column goes with the file before.
ANALYZE shop.products;
