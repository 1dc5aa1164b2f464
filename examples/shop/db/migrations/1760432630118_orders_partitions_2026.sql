-- lockgate: phase=expand lock_timeout=2s statement_timeout=30s
-- The months of 2026. Made apart and then attached: PARTITION OF would stop all reading of
-- orders, ATTACH does not. The CHECK proves the bounds, so that nothing is scanned.

CREATE TABLE shop.orders_2026_01 (
  LIKE shop.orders INCLUDING ALL,
  CONSTRAINT orders_2026_01_month
    CHECK (placed_at >= '2026-01-01 00:00:00+00' AND placed_at < '2026-02-01 00:00:00+00')
);
ALTER TABLE shop.orders ATTACH PARTITION shop.orders_2026_01
  FOR VALUES FROM ('2026-01-01 00:00:00+00') TO ('2026-02-01 00:00:00+00');

CREATE TABLE shop.orders_2026_02 (
  LIKE shop.orders INCLUDING ALL,
  CONSTRAINT orders_2026_02_month
    CHECK (placed_at >= '2026-02-01 00:00:00+00' AND placed_at < '2026-03-01 00:00:00+00')
);
ALTER TABLE shop.orders ATTACH PARTITION shop.orders_2026_02
  FOR VALUES FROM ('2026-02-01 00:00:00+00') TO ('2026-03-01 00:00:00+00');

CREATE TABLE shop.orders_2026_03 (
  LIKE shop.orders INCLUDING ALL,
  CONSTRAINT orders_2026_03_month
    CHECK (placed_at >= '2026-03-01 00:00:00+00' AND placed_at < '2026-04-01 00:00:00+00')
);
ALTER TABLE shop.orders ATTACH PARTITION shop.orders_2026_03
  FOR VALUES FROM ('2026-03-01 00:00:00+00') TO ('2026-04-01 00:00:00+00');

CREATE TABLE shop.orders_2026_04 (
  LIKE shop.orders INCLUDING ALL,
  CONSTRAINT orders_2026_04_month
    CHECK (placed_at >= '2026-04-01 00:00:00+00' AND placed_at < '2026-05-01 00:00:00+00')
);
ALTER TABLE shop.orders ATTACH PARTITION shop.orders_2026_04
  FOR VALUES FROM ('2026-04-01 00:00:00+00') TO ('2026-05-01 00:00:00+00');

CREATE TABLE shop.orders_2026_05 (
  LIKE shop.orders INCLUDING ALL,
  CONSTRAINT orders_2026_05_month
    CHECK (placed_at >= '2026-05-01 00:00:00+00' AND placed_at < '2026-06-01 00:00:00+00')
);
ALTER TABLE shop.orders ATTACH PARTITION shop.orders_2026_05
  FOR VALUES FROM ('2026-05-01 00:00:00+00') TO ('2026-06-01 00:00:00+00');

CREATE TABLE shop.orders_2026_06 (
  LIKE shop.orders INCLUDING ALL,
  CONSTRAINT orders_2026_06_month
    CHECK (placed_at >= '2026-06-01 00:00:00+00' AND placed_at < '2026-07-01 00:00:00+00')
);
ALTER TABLE shop.orders ATTACH PARTITION shop.orders_2026_06
  FOR VALUES FROM ('2026-06-01 00:00:00+00') TO ('2026-07-01 00:00:00+00');

CREATE TABLE shop.orders_2026_07 (
  LIKE shop.orders INCLUDING ALL,
  CONSTRAINT orders_2026_07_month
    CHECK (placed_at >= '2026-07-01 00:00:00+00' AND placed_at < '2026-08-01 00:00:00+00')
);
ALTER TABLE shop.orders ATTACH PARTITION shop.orders_2026_07
  FOR VALUES FROM ('2026-07-01 00:00:00+00') TO ('2026-08-01 00:00:00+00');

CREATE TABLE shop.orders_2026_08 (
  LIKE shop.orders INCLUDING ALL,
  CONSTRAINT orders_2026_08_month
    CHECK (placed_at >= '2026-08-01 00:00:00+00' AND placed_at < '2026-09-01 00:00:00+00')
);
ALTER TABLE shop.orders ATTACH PARTITION shop.orders_2026_08
  FOR VALUES FROM ('2026-08-01 00:00:00+00') TO ('2026-09-01 00:00:00+00');

CREATE TABLE shop.orders_2026_09 (
  LIKE shop.orders INCLUDING ALL,
  CONSTRAINT orders_2026_09_month
    CHECK (placed_at >= '2026-09-01 00:00:00+00' AND placed_at < '2026-10-01 00:00:00+00')
);
ALTER TABLE shop.orders ATTACH PARTITION shop.orders_2026_09
  FOR VALUES FROM ('2026-09-01 00:00:00+00') TO ('2026-10-01 00:00:00+00');

CREATE TABLE shop.orders_2026_10 (
  LIKE shop.orders INCLUDING ALL,
  CONSTRAINT orders_2026_10_month
    CHECK (placed_at >= '2026-10-01 00:00:00+00' AND placed_at < '2026-11-01 00:00:00+00')
);
ALTER TABLE shop.orders ATTACH PARTITION shop.orders_2026_10
  FOR VALUES FROM ('2026-10-01 00:00:00+00') TO ('2026-11-01 00:00:00+00');

CREATE TABLE shop.orders_2026_11 (
  LIKE shop.orders INCLUDING ALL,
  CONSTRAINT orders_2026_11_month
    CHECK (placed_at >= '2026-11-01 00:00:00+00' AND placed_at < '2026-12-01 00:00:00+00')
);
ALTER TABLE shop.orders ATTACH PARTITION shop.orders_2026_11
  FOR VALUES FROM ('2026-11-01 00:00:00+00') TO ('2026-12-01 00:00:00+00');

CREATE TABLE shop.orders_2026_12 (
  LIKE shop.orders INCLUDING ALL,
  CONSTRAINT orders_2026_12_month
    CHECK (placed_at >= '2026-12-01 00:00:00+00' AND placed_at < '2027-01-01 00:00:00+00')
);
ALTER TABLE shop.orders ATTACH PARTITION shop.orders_2026_12
  FOR VALUES FROM ('2026-12-01 00:00:00+00') TO ('2027-01-01 00:00:00+00');
