-- lockgate: phase=expand transaction=off statement_timeout=30min
-- lockgate: estimate rows=240000 seconds=6
-- Step 2: one build a month, none of them blocks a write. The months after May are empty.

CREATE INDEX CONCURRENTLY orders_2025_04_customer_idx
  ON shop.orders_2025_04 (customer_id, placed_at);
CREATE INDEX CONCURRENTLY orders_2025_05_customer_idx
  ON shop.orders_2025_05 (customer_id, placed_at);
CREATE INDEX CONCURRENTLY orders_2025_06_customer_idx
  ON shop.orders_2025_06 (customer_id, placed_at);
CREATE INDEX CONCURRENTLY orders_2025_07_customer_idx
  ON shop.orders_2025_07 (customer_id, placed_at);
CREATE INDEX CONCURRENTLY orders_2025_08_customer_idx
  ON shop.orders_2025_08 (customer_id, placed_at);
CREATE INDEX CONCURRENTLY orders_2025_09_customer_idx
  ON shop.orders_2025_09 (customer_id, placed_at);
CREATE INDEX CONCURRENTLY orders_2025_10_customer_idx
  ON shop.orders_2025_10 (customer_id, placed_at);
CREATE INDEX CONCURRENTLY orders_2025_11_customer_idx
  ON shop.orders_2025_11 (customer_id, placed_at);
CREATE INDEX CONCURRENTLY orders_2025_12_customer_idx
  ON shop.orders_2025_12 (customer_id, placed_at);
