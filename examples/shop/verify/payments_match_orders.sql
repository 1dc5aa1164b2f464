-- Asserts: every payment belongs to an order, and no order was captured for more than its
-- total or in another currency. It stands in for the foreign key that payments cannot have.
-- Each row is an order, or the place where one should be, that breaks this; there must be none.

SELECT
  p.order_id,
  p.order_placed_at,
  CASE
    WHEN o.id IS NULL THEN 'no such order'
    WHEN bool_or(p.currency <> o.currency) THEN 'other currency'
    ELSE 'captured more than the total'
  END AS problem
FROM shop.payments AS p
LEFT JOIN shop.orders AS o ON o.id = p.order_id AND o.placed_at = p.order_placed_at
GROUP BY p.order_id, p.order_placed_at, o.id, o.currency, o.total_cents
HAVING o.id IS NULL
  OR bool_or(p.currency <> o.currency)
  OR coalesce(sum(p.amount_cents) FILTER (WHERE p.state = 'captured'), 0) > o.total_cents
ORDER BY p.order_id, p.order_placed_at;
