-- Asserts: the history left nothing unfinished in schema shop: no invalid index, no constraint
-- still NOT VALID. Each row names one; there must be none.

SELECT 'invalid index' AS problem, c.oid::regclass::text AS object
FROM pg_index AS x
JOIN pg_class AS c ON c.oid = x.indexrelid
WHERE c.relnamespace = 'shop'::regnamespace AND NOT (x.indisvalid AND x.indisready)
UNION ALL
SELECT 'constraint not valid', con.conrelid::regclass::text || '.' || con.conname
FROM pg_constraint AS con
WHERE con.connamespace = 'shop'::regnamespace AND NOT con.convalidated
ORDER BY problem, object;
