-- Asserts: what was charged for an order is the sum of its lines plus shipping.
-- Each row is an order where it is not; there must be none.

SELECT order_id, placed_at, total_cents, computed_cents
FROM shop.order_totals
WHERE total_cents <> computed_cents
ORDER BY order_id, placed_at;
