-- Asserts: each month of orders begins where the one before it ends, so that an order placed
-- between the first and the last of them always has a partition.
-- Each row is a month after which there is a gap; there must be none.

WITH months AS (
  SELECT
    c.relname AS partition,
    regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''([^'']+)''\) TO \(''([^'']+)''\)') AS bounds
  FROM pg_inherits AS i
  JOIN pg_class AS c ON c.oid = i.inhrelid
  WHERE i.inhparent = 'shop.orders'::regclass
),
ranges AS (
  SELECT
    partition,
    bounds[2]::timestamptz AS ends,
    lead(bounds[1]::timestamptz) OVER (ORDER BY bounds[1]::timestamptz) AS next_begins
  FROM months
)
SELECT partition, ends, next_begins
FROM ranges
WHERE ends <> next_begins
ORDER BY ends;
