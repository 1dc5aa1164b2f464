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
  'heirs', (SELECT COALESCE(pg_catalog.jsonb_agg(h.inhrelid::regclass::text ORDER BY 1), '[]') FROM pg_catalog.pg_inherits h WHERE h.inhparent = $1::oid),
  'parents', (SELECT COALESCE(pg_catalog.jsonb_agg(h.inhparent::regclass::text ORDER BY 1), '[]') FROM pg_catalog.pg_inherits h WHERE h.inhrelid = $1::oid),
  -- Those of others than the owner; of columns, too.
  'grants', (SELECT COALESCE(pg_catalog.jsonb_agg(g.words ORDER BY g.words), '[]') FROM (
      SELECT pg_catalog.format('%s to %s', a.privilege_type, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(a.grantee)::text END) AS words
        FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a WHERE c.oid = $1::oid AND a.grantee <> c.relowner
      UNION SELECT pg_catalog.format('%s (%I) to %s', a.privilege_type, t.attname, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(a.grantee)::text END)
        FROM pg_catalog.pg_attribute t, pg_catalog.aclexplode(t.attacl) a WHERE t.attrelid = $1::oid AND NOT t.attisdropped) g),
  'grantees', (SELECT COALESCE(pg_catalog.jsonb_agg(DISTINCT pg_catalog.pg_get_userbyid(g.grantee)::text), '[]') FROM (
      SELECT a.grantee FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a WHERE c.oid = $1::oid AND a.grantee NOT IN (0, c.relowner)
      UNION SELECT a.grantee FROM pg_catalog.pg_attribute t, pg_catalog.aclexplode(t.attacl) a WHERE t.attrelid = $1::oid AND NOT t.attisdropped AND a.grantee <> 0) g),
  'row_security', pg_catalog.row_security_active($1::oid),
  'row_level', (SELECT relrowsecurity FROM pg_catalog.pg_class WHERE oid = $1::oid),
  'row_forced', (SELECT relforcerowsecurity FROM pg_catalog.pg_class WHERE oid = $1::oid),
  -- Name, and what stands in CREATE POLICY behind the name of the table.
  'policies', (SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(p.polname, pg_catalog.concat(
        'AS ', CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
        ' FOR ', CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
        ' TO ', (SELECT pg_catalog.string_agg(CASE r.role WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(r.role)) END, ', ' ORDER BY 1) FROM pg_catalog.unnest(p.polroles) r(role)),
        ' USING (' || pg_catalog.pg_get_expr(p.polqual, p.polrelid) || ')', ' WITH CHECK (' || pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) || ')')) ORDER BY p.polname), '[]')
      FROM pg_catalog.pg_policy p WHERE p.polrelid = $1::oid),
  'policy_roles', (SELECT COALESCE(pg_catalog.jsonb_agg(DISTINCT pg_catalog.pg_get_userbyid(r.role)), '[]') FROM pg_catalog.pg_policy p, pg_catalog.unnest(p.polroles) r(role) WHERE p.polrelid = $1::oid AND r.role <> 0),
  'may_select', pg_catalog.has_table_privilege($1::oid, 'SELECT'),
  'may_write', pg_catalog.has_table_privilege($1::oid, 'INSERT') AND pg_catalog.has_table_privilege($1::oid, 'DELETE'),
  'is_owner', (SELECT pg_catalog.pg_has_role(relowner, 'USAGE') FROM pg_catalog.pg_class WHERE oid = $1::oid))::text
