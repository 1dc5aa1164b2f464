-- lockgate: phase=expand lock_timeout=2s statement_timeout=30s
-- Step 3: only the catalogue changes. Months attached later bring the index with them.

ALTER INDEX shop.orders_customer_idx ATTACH PARTITION shop.orders_2025_04_customer_idx;
ALTER INDEX shop.orders_customer_idx ATTACH PARTITION shop.orders_2025_05_customer_idx;
ALTER INDEX shop.orders_customer_idx ATTACH PARTITION shop.orders_2025_06_customer_idx;
ALTER INDEX shop.orders_customer_idx ATTACH PARTITION shop.orders_2025_07_customer_idx;
ALTER INDEX shop.orders_customer_idx ATTACH PARTITION shop.orders_2025_08_customer_idx;
ALTER INDEX shop.orders_customer_idx ATTACH PARTITION shop.orders_2025_09_customer_idx;
ALTER INDEX shop.orders_customer_idx ATTACH PARTITION shop.orders_2025_10_customer_idx;
ALTER INDEX shop.orders_customer_idx ATTACH PARTITION shop.orders_2025_11_customer_idx;
ALTER INDEX shop.orders_customer_idx ATTACH PARTITION shop.orders_2025_12_customer_idx;
