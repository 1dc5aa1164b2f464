-- lockgate: phase=expand lock_timeout=2s statement_timeout=30s
-- What can be bought, and how much of it lies in which warehouse.

CREATE TABLE shop.categories (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  slug text NOT NULL,
  label text NOT NULL,
  CONSTRAINT categories_slug_key UNIQUE (slug)
);

COMMENT ON TABLE shop.categories IS 'Shelves of the shop, a few dozen.';

CREATE TABLE shop.products (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  category_id bigint NOT NULL,
  sku text NOT NULL,
  title text NOT NULL,
  description text NOT NULL DEFAULT '',
  price_cents bigint NOT NULL,
  currency text NOT NULL DEFAULT 'EUR',
  is_active boolean NOT NULL DEFAULT true,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT products_sku_key UNIQUE (sku),
  CONSTRAINT products_price_is_not_negative CHECK (price_cents >= 0),
  CONSTRAINT products_currency_is_iso CHECK (currency ~ '^[A-Z]{3}$'),
  CONSTRAINT products_category_fk
    FOREIGN KEY (category_id) REFERENCES shop.categories (id) ON DELETE RESTRICT
);

CREATE INDEX products_category_idx ON shop.products (category_id);

COMMENT ON TABLE shop.products IS 'Articles on sale. Never deleted, only set inactive.';

CREATE TRIGGER products_touch
BEFORE UPDATE ON shop.products
FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*)
EXECUTE FUNCTION shop.touch_updated_at();

CREATE TABLE shop.warehouses (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  code text NOT NULL,
  city text NOT NULL,
  country_code text NOT NULL,
  CONSTRAINT warehouses_code_key UNIQUE (code),
  CONSTRAINT warehouses_country_code_is_iso CHECK (country_code ~ '^[A-Z]{2}$')
);

COMMENT ON TABLE shop.warehouses IS 'Places that ship, about ten.';

CREATE TABLE shop.stock_levels (
  warehouse_id bigint NOT NULL,
  product_id bigint NOT NULL,
  on_hand bigint NOT NULL DEFAULT 0,
  reserved bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (warehouse_id, product_id),
  CONSTRAINT stock_levels_reserved_fits CHECK (reserved BETWEEN 0 AND on_hand),
  CONSTRAINT stock_levels_warehouse_fk
    FOREIGN KEY (warehouse_id) REFERENCES shop.warehouses (id) ON DELETE RESTRICT,
  CONSTRAINT stock_levels_product_fk
    FOREIGN KEY (product_id) REFERENCES shop.products (id) ON DELETE RESTRICT
);

CREATE INDEX stock_levels_product_idx ON shop.stock_levels (product_id);

COMMENT ON TABLE shop.stock_levels IS 'Pieces of a product in a warehouse; reserved ones belong to paid orders.';
