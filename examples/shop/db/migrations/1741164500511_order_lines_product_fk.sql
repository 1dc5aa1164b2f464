-- lockgate: phase=expand lock_timeout=2s statement_timeout=30s
-- Lines must point at a product. NOT VALID: new rows are checked from now on, the old ones
-- in the next file, so that products and order_lines are locked for a moment only.

ALTER TABLE shop.order_lines
  ADD CONSTRAINT order_lines_product_fk
  FOREIGN KEY (product_id) REFERENCES shop.products (id) ON DELETE RESTRICT
  NOT VALID;
