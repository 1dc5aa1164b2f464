-- What keeps both sides of a move in place in step: $1 oids of its tables, $2 names of triggers, $3 names of checks. A trigger that is off says so.
SELECT t.tgname::text,
       CASE WHEN t.tgenabled NOT IN ('O', 'A') THEN 'off'
            ELSE pg_catalog.md5(pg_catalog.concat_ws('|', pg_catalog.pg_get_triggerdef(t.oid), t.tgenabled, p.prosrc)) END
  FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
 WHERE t.tgrelid = ANY ($1::oid[]) AND t.tgname = ANY ($2::text[]) AND NOT t.tgisinternal
UNION ALL
SELECT k.conname::text, pg_catalog.md5(pg_catalog.pg_get_expr(k.conbin, k.conrelid))
  FROM pg_catalog.pg_constraint k
 WHERE k.conrelid = ANY ($1::oid[]) AND k.contype = 'c' AND k.conname = ANY ($3::text[])
