-- lockgate: phase=expand lock_timeout=2s statement_timeout=30s
-- products.title becomes products.name, as in the search feed. A RENAME would break the
-- release that is running, so both columns live side by side for a while:
--   1. the new column, and a trigger that keeps the two equal (this file)
--   2. fill the old rows   3. CHECK NOT VALID   4. validate it   5. NOT NULL
--   6. drop title, when no release reads it any more (contract)

ALTER TABLE shop.products ADD COLUMN name text;

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

-- lockgate: down

DROP TRIGGER products_sync_name ON shop.products;
DROP FUNCTION shop.sync_product_name();
COMMENT ON COLUMN shop.products.title IS NULL;
ALTER TABLE shop.products DROP COLUMN name;
