-- What stands around a table: $1 its oid.
SELECT pg_catalog.jsonb_build_object(
  'referenced_by', (SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.format('%s.%I', conrelid::regclass, conname)), '[]') FROM pg_catalog.pg_constraint WHERE contype = 'f' AND confrelid = $1::oid AND conparentid = 0),
  'references', (SELECT COALESCE(pg_catalog.jsonb_agg(conname), '[]') FROM pg_catalog.pg_constraint WHERE contype = 'f' AND conrelid = $1::oid),
  'views', (SELECT COALESCE(pg_catalog.jsonb_agg(DISTINCT v.oid::regclass::text), '[]') FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite w ON w.oid = d.objid JOIN pg_catalog.pg_class v ON v.oid = w.ev_class
             WHERE d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = $1::oid AND w.ev_class <> $1::oid),
  'triggers', (SELECT COALESCE(pg_catalog.jsonb_agg(g.tgname), '[]') FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_proc p ON p.oid = g.tgfoid JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
                WHERE g.tgrelid = $1::oid AND NOT g.tgisinternal AND n.nspname <> 'lockgate'),
  -- Without their names: method, columns, predicate, storage options.
  'indexes', (SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.concat(CASE WHEN i.indisunique THEN 'unique ' END, pg_catalog.substring(pg_catalog.pg_get_indexdef(i.indexrelid), ' USING (.*)$')) ORDER BY 1), '[]')
                FROM pg_catalog.pg_index i WHERE i.indrelid = $1::oid AND i.indisvalid),
  'rules', (SELECT COALESCE(pg_catalog.jsonb_agg(rulename), '[]') FROM pg_catalog.pg_rewrite WHERE ev_class = $1::oid AND rulename <> '_RETURN'),
  'publications', (SELECT COALESCE(pg_catalog.jsonb_agg(p.pubname), '[]') FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid WHERE r.prrelid = $1::oid),
  'row_security', (SELECT relrowsecurity AND (relforcerowsecurity OR NOT pg_catalog.pg_has_role(relowner, 'USAGE')) FROM pg_catalog.pg_class WHERE oid = $1::oid),
  'may_select', pg_catalog.has_table_privilege($1::oid, 'SELECT'),
  'may_write', pg_catalog.has_table_privilege($1::oid, 'INSERT') AND pg_catalog.has_table_privilege($1::oid, 'DELETE'),
  'is_owner', (SELECT pg_catalog.pg_has_role(relowner, 'USAGE') FROM pg_catalog.pg_class WHERE oid = $1::oid))::text
