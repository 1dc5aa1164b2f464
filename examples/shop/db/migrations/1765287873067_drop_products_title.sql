-- lockgate: phase=contract lock_timeout=2s statement_timeout=30s
-- Step 6: since release 2025.48 nothing reads or writes title. No view and no index uses
-- it. The trigger goes first, because its function names the column.

DROP TRIGGER products_sync_name ON shop.products;
DROP FUNCTION shop.sync_product_name();
ALTER TABLE shop.products DROP COLUMN title;

-- lockgate: down

-- Nothing was lost: title and name were equal.
ALTER TABLE shop.products ADD COLUMN title text;
UPDATE shop.products SET title = name WHERE title IS NULL;
ALTER TABLE shop.products ALTER COLUMN title SET NOT NULL;
COMMENT ON COLUMN shop.products.title IS 'Replaced by name; kept equal by trigger until it is dropped.';

CREATE FUNCTION shop.sync_product_name() RETURNS trigger
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    NEW.name := coalesce(NEW.name, NEW.title);
    NEW.title := coalesce(NEW.title, NEW.name);
  ELSIF NEW.name IS DISTINCT FROM OLD.name THEN
    NEW.title := NEW.name;   -- the new release wrote
  ELSE
    NEW.name := NEW.title;   -- the old release wrote, or nobody did
  END IF;
  RETURN NEW;
END
$$;

CREATE TRIGGER products_sync_name
BEFORE INSERT OR UPDATE ON shop.products
FOR EACH ROW
EXECUTE FUNCTION shop.sync_product_name();
