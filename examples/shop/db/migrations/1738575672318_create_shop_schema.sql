-- lockgate: phase=expand lock_timeout=2s statement_timeout=30s
-- Everything the shop owns lives in one schema, and every name is written in full:
-- what a migration does must not depend on somebody's search_path.

CREATE SCHEMA shop;

COMMENT ON SCHEMA shop IS 'The online shop: customers, catalogue, stock, orders, payments.';

-- Shared by every table with an updated_at; each table has its own trigger.
CREATE FUNCTION shop.touch_updated_at() RETURNS trigger
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
  NEW.updated_at := now();
  RETURN NEW;
END
$$;
