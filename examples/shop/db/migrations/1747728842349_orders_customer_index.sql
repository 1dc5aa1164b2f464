-- lockgate: phase=expand lock_timeout=2s statement_timeout=30s
-- "My orders" reads every month in full. An index on the parent would block writes to all
-- months at once, so: 1. an empty shell on the parent (here), 2. one concurrent build for
-- each month, 3. attach them. The shell turns valid by itself with the last one.

CREATE INDEX orders_customer_idx ON ONLY shop.orders (customer_id, placed_at);
