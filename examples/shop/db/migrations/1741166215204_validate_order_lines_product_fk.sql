-- lockgate: phase=expand lock_timeout=2s statement_timeout=10min
-- lockgate: estimate rows=60000 seconds=1
-- Reads every line once; orders keep coming in meanwhile.

ALTER TABLE shop.order_lines VALIDATE CONSTRAINT order_lines_product_fk;
