-- Constraints that were never validated: old rows may break them. PostgreSQL 18's NOT ENFORCED ones are meant to be so.
SELECT 'constraint-not-valid', pg_catalog.quote_ident(k.conname), COALESCE(NULLIF(k.conrelid, 0)::regclass::text, k.contypid::regtype::text),
       pg_catalog.pg_get_constraintdef(k.oid), CASE WHEN k.conrelid <> 0 THEN 'TABLE' ELSE 'DOMAIN' END
  FROM pg_catalog.pg_constraint k
 WHERE NOT k.convalidated AND k.conparentid = 0 AND k.coninhcount = 0
   AND COALESCE((pg_catalog.to_jsonb(k) ->> 'conenforced')::boolean, true)
 ORDER BY 3, 2
