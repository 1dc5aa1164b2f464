-- What hangs on relations or stands beside them: (what, schema, relation, name, detail).
SELECT pg_catalog.row_to_json(found)::text
  FROM (
    -- In the order of names where rows need one: functions come before the triggers that run them.
    SELECT 'trigger' AS what, n.nspname AS schema, c.relname AS relation, g.tgname AS name,
           pg_catalog.pg_get_triggerdef(g.oid) AS detail, g.tgenabled::text AS more
      FROM pg_catalog.pg_trigger g
      JOIN pg_catalog.pg_class c ON c.oid = g.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_catalog.pg_proc p ON p.oid = g.tgfoid JOIN pg_catalog.pg_namespace pn ON pn.oid = p.pronamespace
     WHERE (NOT g.tgisinternal OR (g.tgparentid <> 0 AND g.tgconstraint = 0)) AND pn.nspname <> 'lockgate'
    UNION ALL
    -- Put together the way it would be written, for the parser.
    SELECT 'policy', n.nspname, c.relname, y.polname,
           pg_catalog.format('CREATE POLICY p ON t TO %s', CASE WHEN 0 = ANY (y.polroles) THEN 'public' ELSE
             (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(r.rolname), ', ' ORDER BY r.rolname) FROM pg_catalog.pg_roles r WHERE r.oid = ANY (y.polroles)) END)
           || COALESCE(' USING (' || pg_catalog.pg_get_expr(y.polqual, y.polrelid) || ')', '')
           || COALESCE(' WITH CHECK (' || pg_catalog.pg_get_expr(y.polwithcheck, y.polrelid) || ')', ''), ''
      FROM pg_catalog.pg_policy y JOIN pg_catalog.pg_class c ON c.oid = y.polrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    UNION ALL
    SELECT 'rule', n.nspname, c.relname, w.rulename, pg_catalog.pg_get_ruledef(w.oid), ''
      FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_class c ON c.oid = w.ev_class JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE w.rulename <> '_RETURN'
    UNION ALL
    SELECT 'statistics', n.nspname, c.relname, s.stxname, sn.nspname::text, ''
      FROM pg_catalog.pg_statistic_ext s JOIN pg_catalog.pg_class c ON c.oid = s.stxrelid
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_namespace sn ON sn.oid = s.stxnamespace
    UNION ALL
    SELECT 'schema', n.nspname, '', n.nspname, '', ''
      FROM pg_catalog.pg_namespace n
    UNION ALL
    SELECT 'extension', '', '', x.extname, x.extversion, ''
      FROM pg_catalog.pg_extension x
    UNION ALL
    SELECT 'server', '', '', v.srvname, f.fdwname::text, ''
      FROM pg_catalog.pg_foreign_server v JOIN pg_catalog.pg_foreign_data_wrapper f ON f.oid = v.srvfdw
    UNION ALL
    SELECT 'foreign', n.nspname, c.relname, v.srvname, '', ''
      FROM pg_catalog.pg_foreign_table t JOIN pg_catalog.pg_foreign_server v ON v.oid = t.ftserver
      JOIN pg_catalog.pg_class c ON c.oid = t.ftrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    UNION ALL
    SELECT 'function', n.nspname, '', p.proname,
           CASE pg_catalog.min(CASE p.provolatile WHEN 'v' THEN 1 WHEN 's' THEN 2 ELSE 3 END) WHEN 1 THEN 'volatile' WHEN 2 THEN 'stable' ELSE 'immutable' END, ''
      FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
     WHERE p.prokind IN ('f', 'p')
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype IN ('e', 'i'))
     GROUP BY n.nspname, p.proname
    UNION ALL
    SELECT 'routine', n.nspname, '', p.proname, pg_catalog.pg_get_functiondef(p.oid), ''
      FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
     WHERE p.prokind IN ('f', 'p')
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype IN ('e', 'i'))
    UNION ALL
    SELECT 'publication', '', '', b.pubname, CASE WHEN b.puballtables THEN 'all' ELSE '' END, ''
      FROM pg_catalog.pg_publication b
    UNION ALL
    SELECT 'published', n.nspname, c.relname, b.pubname,
           COALESCE((SELECT pg_catalog.json_agg(a.attname ORDER BY a.attnum)::text FROM pg_catalog.pg_attribute a
                      WHERE a.attrelid = r.prrelid AND a.attnum = ANY (pg_catalog.string_to_array(pg_catalog.translate(pg_catalog.to_jsonb(r) ->> 'prattrs', '[],"', ''), ' ')::int[])), '[]'), ''
      FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication b ON b.oid = r.prpubid
      JOIN pg_catalog.pg_class c ON c.oid = r.prrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  ) AS found
 WHERE found.schema !~ '^pg_' AND found.schema NOT IN ('information_schema', 'lockgate')
 ORDER BY found.what, found.schema, found.relation, found.name
