-- lockgate: phase=expand lock_timeout=2s statement_timeout=30s
-- Orders by month, and their lines. We open in April, so the months up to the end of the
-- year are made here. There is no default partition on purpose: it would have to be
-- scanned, under lock, each time a month is attached.

CREATE TYPE shop.order_status AS ENUM
  ('placed', 'paid', 'packed', 'shipped', 'delivered', 'cancelled');

-- A sequence and not an identity column: months made with LIKE inherit the default.
CREATE SEQUENCE shop.orders_id_seq AS bigint;

CREATE TABLE shop.orders (
  id bigint NOT NULL DEFAULT nextval('shop.orders_id_seq'),
  placed_at timestamptz NOT NULL DEFAULT now(),
  customer_id bigint NOT NULL,
  status shop.order_status NOT NULL DEFAULT 'placed',
  currency text NOT NULL DEFAULT 'EUR',
  shipping_cents bigint NOT NULL DEFAULT 0,
  total_cents bigint NOT NULL,
  ship_to jsonb NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (id, placed_at),
  CONSTRAINT orders_amounts_are_not_negative CHECK (shipping_cents >= 0 AND total_cents >= 0)
) PARTITION BY RANGE (placed_at);

ALTER SEQUENCE shop.orders_id_seq OWNED BY shop.orders.id;

COMMENT ON TABLE shop.orders IS 'One row an order, partitioned by the month (UTC) of placed_at.';
COMMENT ON COLUMN shop.orders.customer_id IS
  'No foreign key: a customer may ask to be erased, the order has to be kept for ten years.';
COMMENT ON COLUMN shop.orders.ship_to IS 'The address as it was when the order was placed.';

-- The bounds carry their offset: without it they would depend on the session's time zone.
CREATE TABLE shop.orders_2025_04 PARTITION OF shop.orders
  FOR VALUES FROM ('2025-04-01 00:00:00+00') TO ('2025-05-01 00:00:00+00');
CREATE TABLE shop.orders_2025_05 PARTITION OF shop.orders
  FOR VALUES FROM ('2025-05-01 00:00:00+00') TO ('2025-06-01 00:00:00+00');
CREATE TABLE shop.orders_2025_06 PARTITION OF shop.orders
  FOR VALUES FROM ('2025-06-01 00:00:00+00') TO ('2025-07-01 00:00:00+00');
CREATE TABLE shop.orders_2025_07 PARTITION OF shop.orders
  FOR VALUES FROM ('2025-07-01 00:00:00+00') TO ('2025-08-01 00:00:00+00');
CREATE TABLE shop.orders_2025_08 PARTITION OF shop.orders
  FOR VALUES FROM ('2025-08-01 00:00:00+00') TO ('2025-09-01 00:00:00+00');
CREATE TABLE shop.orders_2025_09 PARTITION OF shop.orders
  FOR VALUES FROM ('2025-09-01 00:00:00+00') TO ('2025-10-01 00:00:00+00');
CREATE TABLE shop.orders_2025_10 PARTITION OF shop.orders
  FOR VALUES FROM ('2025-10-01 00:00:00+00') TO ('2025-11-01 00:00:00+00');
CREATE TABLE shop.orders_2025_11 PARTITION OF shop.orders
  FOR VALUES FROM ('2025-11-01 00:00:00+00') TO ('2025-12-01 00:00:00+00');
CREATE TABLE shop.orders_2025_12 PARTITION OF shop.orders
  FOR VALUES FROM ('2025-12-01 00:00:00+00') TO ('2026-01-01 00:00:00+00');

CREATE TRIGGER orders_touch
BEFORE UPDATE ON shop.orders
FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*)
EXECUTE FUNCTION shop.touch_updated_at();

CREATE TABLE shop.order_lines (
  order_id bigint NOT NULL,
  order_placed_at timestamptz NOT NULL,
  line_no bigint NOT NULL,
  product_id bigint NOT NULL,
  quantity bigint NOT NULL,
  unit_price_cents bigint NOT NULL,
  PRIMARY KEY (order_id, order_placed_at, line_no),
  CONSTRAINT order_lines_quantity_is_positive CHECK (quantity > 0),
  CONSTRAINT order_lines_price_is_not_negative CHECK (unit_price_cents >= 0),
  CONSTRAINT order_lines_order_fk
    FOREIGN KEY (order_id, order_placed_at)
    REFERENCES shop.orders (id, placed_at) ON DELETE RESTRICT
);

CREATE INDEX order_lines_product_idx ON shop.order_lines (product_id);

COMMENT ON TABLE shop.order_lines IS 'What was ordered, at the price of that moment.';
