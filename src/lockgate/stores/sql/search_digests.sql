-- The record digests of chosen ids of a physical index, made where the rows are.
SELECT id, {digest} FROM {table} WHERE id = ANY ($1::text[])
