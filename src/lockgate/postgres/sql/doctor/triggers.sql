-- Triggers that do not fire. Those of a foreign key are the server's own: without them the key is not checked.
SELECT CASE WHEN g.tgisinternal THEN 'foreign-key-disabled' ELSE 'trigger-disabled' END,
       pg_catalog.quote_ident(COALESCE(k.conname, g.tgname)), g.tgrelid::regclass::text
  FROM pg_catalog.pg_trigger g
  LEFT JOIN pg_catalog.pg_constraint k ON k.oid = g.tgconstraint AND g.tgisinternal
 WHERE g.tgenabled = 'D'
 GROUP BY 1, 2, 3
 ORDER BY 3, 2
