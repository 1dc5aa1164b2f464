-- Digests of a physical index, made where the rows are: one line for each non-empty bucket. The bucket is the first ten bits of
-- the hash of the id. Sorting inside lets several workers read, hash and sort.
SELECT b, count(*), sha256(string_agg(d, ''::bytea ORDER BY d))
  FROM (SELECT ('x' || encode(substring(sha256(convert_to(id, 'UTF8')) FROM 1 FOR 2), 'hex'))::bit(16)::int >> 6 AS b, {digest} AS d
          FROM {table} ORDER BY 1, 2) s
 GROUP BY b
