-- lockgate: phase=expand lock_timeout=2s statement_timeout=30s
-- For the back office: what an order adds up to. security_invoker, so that the reader's
-- own rights on the tables count.

CREATE VIEW shop.order_totals WITH (security_invoker = true) AS
SELECT
  o.id AS order_id,
  o.placed_at,
  o.customer_id,
  o.status,
  count(l.line_no) AS line_count,
  (coalesce(sum(l.quantity * l.unit_price_cents), 0) + o.shipping_cents)::bigint AS computed_cents,
  o.total_cents
FROM shop.orders AS o
LEFT JOIN shop.order_lines AS l ON l.order_id = o.id AND l.order_placed_at = o.placed_at
GROUP BY o.id, o.placed_at, o.customer_id, o.status, o.shipping_cents, o.total_cents;

COMMENT ON VIEW shop.order_totals IS 'Orders with the sum of their lines beside the total that was charged.';

-- lockgate: down

DROP VIEW shop.order_totals;
