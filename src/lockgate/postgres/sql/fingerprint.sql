-- Everything that makes the schema, one row an object: kind, identity, definition. What is in and what is out: fingerprint.py.
-- It runs with search_path = pg_catalog alone, so that every other name comes out qualified. PostgreSQL 14 to 18.
WITH home AS MATERIALIZED (
  SELECT n.oid, n.nspname
    FROM pg_catalog.pg_namespace n
   WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'lockgate', 'lockgate_index')
), member AS MATERIALIZED (
  -- Of an extension, or of a range type: its constructors and casts come with it.
  SELECT d.classid, d.objid
    FROM pg_catalog.pg_depend d
   WHERE d.deptype = 'e' OR (d.deptype = 'i' AND d.classid IN ('pg_proc'::regclass, 'pg_cast'::regclass))
), owned AS MATERIALIZED (
  -- Made or retired by a data move: the barrier in front of it says so, or the comment of one that was aborted.
  SELECT g.tgrelid AS oid
    FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_proc p ON p.oid = g.tgfoid JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
   WHERE n.nspname = 'lockgate' AND p.proname = 'move_refuse' AND g.tgnargs = 2
  UNION
  SELECT d.objoid FROM pg_catalog.pg_description d
   WHERE d.objoid >= 16384 AND d.classoid = 'pg_class'::regclass AND d.objsubid = 0 AND pg_catalog.starts_with(d.description, 'lockgate: made by the move ')
), rel AS MATERIALIZED (
  SELECT c.oid, c.relkind, c.relpersistence, c.relam, c.reloptions, c.reltoastrelid, c.reloftype, c.relreplident, c.relrowsecurity,
         c.relforcerowsecurity, c.relpartbound, pg_catalog.quote_ident(h.nspname) || '.' || pg_catalog.quote_ident(c.relname) AS name
    FROM pg_catalog.pg_class c JOIN home h ON h.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'c', 'S') AND c.relpersistence <> 't'
     AND NOT EXISTS (SELECT FROM member e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid)
     AND NOT EXISTS (SELECT FROM owned o WHERE o.oid = c.oid)
     AND NOT (c.relkind = 'S' AND EXISTS (SELECT FROM owned o JOIN pg_catalog.pg_depend d ON d.refobjid = o.oid AND d.refclassid = 'pg_class'::regclass
                                           WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')))
)
SELECT 'schema', pg_catalog.quote_ident(h.nspname), ''
  FROM home h
 WHERE NOT EXISTS (SELECT FROM member e WHERE e.classid = 'pg_namespace'::regclass AND e.objid = h.oid)

UNION ALL
SELECT 'table', r.name, pg_catalog.concat_ws(' ; ',
         'kind ' || r.relkind::text, 'persistence ' || r.relpersistence::text,
         'method ' || CASE WHEN r.relam NOT IN (0, 2) THEN (SELECT a.amname FROM pg_catalog.pg_am a WHERE a.oid = r.relam)::text END,
         'of ' || pg_catalog.format_type(NULLIF(r.reloftype, 0), NULL),
         'partition by ' || CASE r.relkind WHEN 'p' THEN pg_catalog.pg_get_partkeydef(r.oid) END,
         'bound ' || pg_catalog.pg_get_expr(r.relpartbound, r.oid),
         'inherits ' || (SELECT pg_catalog.string_agg(i.inhparent::regclass::text || CASE WHEN i.inhdetachpending THEN ' (detach pending)' ELSE '' END, ', ' ORDER BY i.inhseqno)
                           FROM pg_catalog.pg_inherits i WHERE i.inhrelid = r.oid),
         'row security ' || NULLIF(pg_catalog.concat(CASE WHEN r.relrowsecurity THEN 'on' END, CASE WHEN r.relforcerowsecurity THEN ' forced' END), ''),
         'replica identity ' || NULLIF(r.relreplident, 'd')::text,
         CASE WHEN r.reloptions IS NOT NULL THEN 'options ' || (SELECT pg_catalog.string_agg(o, ', ' ORDER BY o) FROM pg_catalog.unnest(r.reloptions) AS o) END,
         'toast options ' || (SELECT pg_catalog.string_agg(o, ', ' ORDER BY o) FROM pg_catalog.pg_class t, pg_catalog.unnest(t.reloptions) AS o WHERE t.oid = r.reltoastrelid),
         CASE WHEN r.relkind = 'f' THEN
           (SELECT pg_catalog.concat('server ', s.srvname, ' ', (SELECT pg_catalog.string_agg(o, ', ' ORDER BY o) FROM pg_catalog.unnest(f.ftoptions) AS o))
              FROM pg_catalog.pg_foreign_table f JOIN pg_catalog.pg_foreign_server s ON s.oid = f.ftserver WHERE f.ftrelid = r.oid) END)
  FROM rel r
 WHERE r.relkind IN ('r', 'p', 'f')

UNION ALL
SELECT 'column', r.name || '.' || pg_catalog.quote_ident(a.attname), pg_catalog.concat_ws(' ; ',
         'place ' || pg_catalog.row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum),
         pg_catalog.format_type(a.atttypid, a.atttypmod),
         CASE WHEN a.attcollation <> t.typcollation THEN 'collate ' || a.attcollation::regcollation::text END,
         CASE WHEN a.attnotnull THEN 'not null' END,
         'identity ' || NULLIF(a.attidentity, '')::text,
         'generated ' || NULLIF(a.attgenerated, '')::text,
         'default ' || pg_catalog.pg_get_expr(d.adbin, d.adrelid),
         CASE WHEN a.attstorage <> t.typstorage THEN 'storage ' || a.attstorage::text END,
         'compression ' || NULLIF(a.attcompression, '')::text,
         CASE WHEN a.attfdwoptions IS NOT NULL THEN 'options ' || (SELECT pg_catalog.string_agg(o, ', ' ORDER BY o) FROM pg_catalog.unnest(a.attfdwoptions) AS o) END)
  FROM rel r
  JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE r.relkind IN ('r', 'p', 'f', 'c')

UNION ALL
-- PostgreSQL 18 keeps each NOT NULL as a constraint too: it is shown only where it says more than the column does.
-- Foreign keys that partitions got from their parent carry names of the server's making, and say nothing new.
SELECT 'constraint', r.name || '.' || pg_catalog.quote_ident(k.conname), pg_catalog.concat_ws(' ; ',
         pg_catalog.pg_get_constraintdef(k.oid),
         CASE WHEN k.contype = 'f' AND EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE g.tgconstraint = k.oid AND g.tgenabled <> 'O') THEN 'triggers not enabled' END)
  FROM rel r
  JOIN pg_catalog.pg_constraint k ON k.conrelid = r.oid
 WHERE k.contype <> 't' AND NOT (k.contype = 'n' AND k.convalidated AND NOT k.connoinherit) AND NOT (k.contype = 'f' AND k.conparentid <> 0)

UNION ALL
-- The definition of an index behind a constraint is the constraint's, its storage options apart.
SELECT 'index', pg_catalog.format('%I.%I', h.nspname, c.relname), pg_catalog.concat_ws(' ; ',
         CASE WHEN k.oid IS NULL THEN pg_catalog.pg_get_indexdef(i.indexrelid)
              ELSE 'constraint ' || pg_catalog.format('%s.%I', r.name, k.conname) || pg_catalog.concat(' with ' || pg_catalog.array_to_string(c.reloptions, ', ')) END,
         CASE WHEN NOT i.indisvalid THEN 'invalid' END, CASE WHEN NOT i.indisready THEN 'not ready' END, CASE WHEN NOT i.indislive THEN 'not live' END,
         CASE WHEN i.indisreplident THEN 'replica identity' END, CASE WHEN i.indisclustered THEN 'clustered' END,
         CASE WHEN c.relispartition THEN 'part of ' || (SELECT p.inhparent::regclass::text FROM pg_catalog.pg_inherits p WHERE p.inhrelid = c.oid) END)
  FROM rel r
  JOIN pg_catalog.pg_index i ON i.indrelid = r.oid
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
  JOIN home h ON h.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = i.indexrelid AND k.conrelid = r.oid AND k.contype IN ('p', 'u', 'x')

UNION ALL
SELECT CASE r.relkind WHEN 'v' THEN 'view' ELSE 'matview' END, r.name, pg_catalog.concat_ws(' ; ',
         pg_catalog.pg_get_viewdef(r.oid),
         'options ' || (SELECT pg_catalog.string_agg(o, ', ' ORDER BY o) FROM pg_catalog.unnest(r.reloptions) AS o),
         'defaults ' || (SELECT pg_catalog.string_agg(d.adnum || ' ' || pg_catalog.pg_get_expr(d.adbin, d.adrelid), ', ' ORDER BY d.adnum) FROM pg_catalog.pg_attrdef d WHERE d.adrelid = r.oid))
  FROM rel r
 WHERE r.relkind IN ('v', 'm')

UNION ALL
SELECT CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END,
       pg_catalog.format('%I.%I(%s)', h.nspname, p.proname, pg_catalog.oidvectortypes(p.proargtypes)),
       CASE p.prokind WHEN 'a' THEN
         (SELECT pg_catalog.concat_ws(' ; ', pg_catalog.pg_get_function_arguments(p.oid), pg_catalog.pg_get_function_result(p.oid), p.proparallel, a.aggkind, a.aggnumdirectargs,
                           a.aggtransfn::regprocedure, a.aggfinalfn::regprocedure, a.aggcombinefn::regprocedure, a.aggserialfn::regprocedure,
                           a.aggdeserialfn::regprocedure, a.aggmtransfn::regprocedure, a.aggminvtransfn::regprocedure, a.aggmfinalfn::regprocedure,
                           a.aggfinalextra, a.aggfinalmodify, a.aggmfinalmodify, a.aggsortop::regoperator, pg_catalog.format_type(a.aggtranstype, NULL),
                           'initial ' || a.agginitval, 'moving initial ' || a.aggminitval)
            FROM pg_catalog.pg_aggregate a WHERE a.aggfnoid = p.oid)
       ELSE pg_catalog.pg_get_functiondef(p.oid) END
  FROM pg_catalog.pg_proc p JOIN home h ON h.oid = p.pronamespace
 WHERE NOT EXISTS (SELECT FROM member e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid)

UNION ALL
-- The triggers of a data move call functions of the schema lockgate; they come and go with the move.
SELECT 'trigger', r.name || '.' || pg_catalog.quote_ident(g.tgname), pg_catalog.concat_ws(' ; ', pg_catalog.pg_get_triggerdef(g.oid), 'enabled ' || g.tgenabled::text)
  FROM rel r
  JOIN pg_catalog.pg_trigger g ON g.tgrelid = r.oid
  JOIN pg_catalog.pg_proc p ON p.oid = g.tgfoid
 WHERE NOT g.tgisinternal
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.oid = p.pronamespace AND n.nspname = 'lockgate')

UNION ALL
SELECT 'sequence', r.name, pg_catalog.concat_ws(' ; ',
         'persistence ' || r.relpersistence::text, pg_catalog.format_type(s.seqtypid, NULL), 'start ' || s.seqstart, 'increment ' || s.seqincrement,
         'min ' || s.seqmin, 'max ' || s.seqmax, 'cache ' || s.seqcache, CASE WHEN s.seqcycle THEN 'cycle' END,
         'owned by ' || (SELECT pg_catalog.format('%s.%I', d.refobjid::regclass, a.attname)
                           FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
                          WHERE d.classid = 'pg_class'::regclass AND d.objid = r.oid AND d.objsubid = 0
                            AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i') LIMIT 1))
  FROM rel r JOIN pg_catalog.pg_sequence s ON s.seqrelid = r.oid
 WHERE r.relkind = 'S'

UNION ALL
SELECT CASE t.typtype WHEN 'd' THEN 'domain' ELSE 'type' END, pg_catalog.format('%I.%I', h.nspname, t.typname),
       CASE t.typtype
         WHEN 'e' THEN 'enum ' || COALESCE((SELECT pg_catalog.string_agg(pg_catalog.quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid), '')
         WHEN 'd' THEN pg_catalog.concat_ws(' ; ', pg_catalog.format_type(t.typbasetype, t.typtypmod), CASE WHEN t.typnotnull THEN 'not null' END, 'default ' || t.typdefault,
                                 CASE WHEN t.typcollation <> b.typcollation THEN 'collate ' || t.typcollation::regcollation::text END)
         WHEN 'r' THEN (SELECT pg_catalog.concat_ws(' ; ', 'range of ' || pg_catalog.format_type(g.rngsubtype, NULL), 'multirange ' || pg_catalog.format_type(g.rngmultitypid, NULL),
                                         'collate ' || NULLIF(g.rngcollation, 0)::regcollation::text, 'class ' || o.opcname,
                                         'canonical ' || NULLIF(g.rngcanonical, 0)::regproc::text, 'difference ' || NULLIF(g.rngsubdiff, 0)::regproc::text)
                          FROM pg_catalog.pg_range g LEFT JOIN pg_catalog.pg_opclass o ON o.oid = g.rngsubopc WHERE g.rngtypid = t.oid)
         WHEN 'c' THEN 'composite'
         ELSE pg_catalog.concat_ws(' ; ', 'base', t.typinput, t.typoutput, t.typreceive, t.typsend, t.typlen, t.typbyval, t.typalign, t.typstorage, t.typcategory, t.typdelim) END
  FROM pg_catalog.pg_type t
  JOIN home h ON h.oid = t.typnamespace
  LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype
  LEFT JOIN rel r ON r.oid = t.typrelid
 WHERE t.typtype IN ('e', 'd', 'r', 'c', 'b') AND t.typcategory <> 'A' AND (t.typtype <> 'c' OR r.relkind = 'c')
   AND NOT EXISTS (SELECT FROM member e WHERE e.classid = 'pg_type'::regclass AND e.objid = t.oid)

UNION ALL
SELECT 'constraint', pg_catalog.format('%I.%I.%I', h.nspname, t.typname, k.conname), pg_catalog.pg_get_constraintdef(k.oid)
  FROM pg_catalog.pg_constraint k
  JOIN pg_catalog.pg_type t ON t.oid = k.contypid
  JOIN home h ON h.oid = t.typnamespace
 WHERE k.contypid <> 0 AND k.contype <> 'n'
   AND NOT EXISTS (SELECT FROM member e WHERE e.classid = 'pg_type'::regclass AND e.objid = t.oid)

UNION ALL
SELECT 'policy', r.name || '.' || pg_catalog.quote_ident(y.polname), pg_catalog.concat_ws(' ; ',
         'for ' || y.polcmd::text, CASE WHEN y.polpermissive THEN 'permissive' ELSE 'restrictive' END,
         'to ' || (SELECT pg_catalog.string_agg(CASE o WHEN 0 THEN 'public' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(o)) END, ', ' ORDER BY CASE o WHEN 0 THEN 'public' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(o)) END COLLATE "C")
                     FROM pg_catalog.unnest(y.polroles) AS o),
         'using ' || pg_catalog.pg_get_expr(y.polqual, y.polrelid), 'check ' || pg_catalog.pg_get_expr(y.polwithcheck, y.polrelid))
  FROM rel r JOIN pg_catalog.pg_policy y ON y.polrelid = r.oid

UNION ALL
SELECT 'extension', pg_catalog.quote_ident(x.extname), pg_catalog.concat('version ', x.extversion, ' in ', n.nspname)
  FROM pg_catalog.pg_extension x JOIN pg_catalog.pg_namespace n ON n.oid = x.extnamespace
 WHERE COALESCE(pg_catalog.obj_description(x.oid, 'pg_extension'), '') NOT LIKE 'lockgate: made for %'

UNION ALL
-- rare {
-- One row where there may be any of the kinds that stand behind it; without one they need not be looked for. Everything in a
-- schema of a user depends on it and so stands in pg_depend; a cast between types of the server depends on nothing.
SELECT 'rare', '', ''
 WHERE EXISTS (SELECT FROM pg_catalog.pg_depend d
                WHERE d.classid IN ('pg_statistic_ext'::regclass, 'pg_event_trigger'::regclass, 'pg_collation'::regclass, 'pg_operator'::regclass,
                                    'pg_opclass'::regclass, 'pg_ts_config'::regclass, 'pg_ts_dict'::regclass)
                  AND d.objid >= 16384 AND NOT EXISTS (SELECT FROM member e WHERE e.classid = d.classid AND e.objid = d.objid))
    OR EXISTS (SELECT FROM pg_catalog.pg_cast c
                WHERE c.oid >= 16384 AND NOT EXISTS (SELECT FROM member e WHERE e.classid = 'pg_cast'::regclass AND e.objid = c.oid))
    OR EXISTS (SELECT FROM pg_catalog.pg_rewrite w WHERE w.oid >= 16384 AND w.rulename <> '_RETURN')
-- }

UNION ALL
SELECT 'rule', r.name || '.' || pg_catalog.quote_ident(w.rulename), pg_catalog.concat_ws(' ; ', pg_catalog.pg_get_ruledef(w.oid), 'enabled ' || w.ev_enabled::text)
  FROM rel r JOIN pg_catalog.pg_rewrite w ON w.ev_class = r.oid
 WHERE w.rulename <> '_RETURN'

UNION ALL
SELECT 'statistics', pg_catalog.format('%I.%I', h.nspname, s.stxname), pg_catalog.pg_get_statisticsobjdef(s.oid)
  FROM pg_catalog.pg_statistic_ext s JOIN home h ON h.oid = s.stxnamespace
 WHERE NOT EXISTS (SELECT FROM member e WHERE e.classid = 'pg_statistic_ext'::regclass AND e.objid = s.oid)
   AND NOT EXISTS (SELECT FROM owned o WHERE o.oid = s.stxrelid)

UNION ALL
SELECT 'event_trigger', pg_catalog.quote_ident(v.evtname), pg_catalog.concat_ws(' ; ',
         v.evtevent, v.evtfoid::regprocedure, 'enabled ' || v.evtenabled::text, 'tags ' || (SELECT pg_catalog.string_agg(o, ', ' ORDER BY o) FROM pg_catalog.unnest(v.evttags) AS o))
  FROM pg_catalog.pg_event_trigger v
 WHERE NOT EXISTS (SELECT FROM member e WHERE e.classid = 'pg_event_trigger'::regclass AND e.objid = v.oid)

UNION ALL
SELECT 'collation', pg_catalog.format('%I.%I', h.nspname, c.collname), pg_catalog.concat_ws(' ; ',
         c.collprovider, c.collisdeterministic, c.collencoding, 'collate ' || c.collcollate, 'ctype ' || c.collctype,
         'locale ' || COALESCE(pg_catalog.to_jsonb(c) ->> 'colllocale', pg_catalog.to_jsonb(c) ->> 'colliculocale'), 'rules ' || (pg_catalog.to_jsonb(c) ->> 'collicurules'))
  FROM pg_catalog.pg_collation c JOIN home h ON h.oid = c.collnamespace
 WHERE NOT EXISTS (SELECT FROM member e WHERE e.classid = 'pg_collation'::regclass AND e.objid = c.oid)

UNION ALL
SELECT 'operator', o.oid::regoperator::text, pg_catalog.concat_ws(' ; ',
         pg_catalog.format_type(o.oprresult, NULL), o.oprcode::regprocedure, 'commutator ' || o.oprcom::regoperator, 'negator ' || o.oprnegate::regoperator,
         'restrict ' || o.oprrest, 'join ' || o.oprjoin, CASE WHEN o.oprcanhash THEN 'hashes' END, CASE WHEN o.oprcanmerge THEN 'merges' END)
  FROM pg_catalog.pg_operator o JOIN home h ON h.oid = o.oprnamespace
 WHERE NOT EXISTS (SELECT FROM member e WHERE e.classid = 'pg_operator'::regclass AND e.objid = o.oid)

UNION ALL
SELECT 'operator_class', pg_catalog.format('%I.%I using %I', h.nspname, c.opcname, m.amname), pg_catalog.concat_ws(' ; ',
         pg_catalog.format_type(c.opcintype, NULL), CASE WHEN c.opcdefault THEN 'default' END, 'storage ' || pg_catalog.format_type(NULLIF(c.opckeytype, 0), NULL),
         'family ' || f.opfname,
         (SELECT pg_catalog.string_agg(pg_catalog.format('operator %s %s', o.amopstrategy, o.amopopr::regoperator), ', ' ORDER BY o.amopstrategy, o.amopopr::regoperator::text COLLATE "C")
            FROM pg_catalog.pg_amop o WHERE o.amopfamily = c.opcfamily),
         (SELECT pg_catalog.string_agg(pg_catalog.format('function %s %s', p.amprocnum, p.amproc::oid::regprocedure), ', ' ORDER BY p.amprocnum, p.amproc::oid::regprocedure::text COLLATE "C")
            FROM pg_catalog.pg_amproc p WHERE p.amprocfamily = c.opcfamily))
  FROM pg_catalog.pg_opclass c
  JOIN home h ON h.oid = c.opcnamespace
  JOIN pg_catalog.pg_am m ON m.oid = c.opcmethod
  JOIN pg_catalog.pg_opfamily f ON f.oid = c.opcfamily
 WHERE NOT EXISTS (SELECT FROM member e WHERE e.classid = 'pg_opclass'::regclass AND e.objid = c.oid)

UNION ALL
SELECT 'cast', pg_catalog.format('(%s AS %s)', pg_catalog.format_type(c.castsource, NULL), pg_catalog.format_type(c.casttarget, NULL)),
       pg_catalog.concat_ws(' ; ', c.castmethod, c.castcontext, NULLIF(c.castfunc, 0)::regprocedure)
  FROM pg_catalog.pg_cast c
 WHERE c.oid >= 16384
   AND NOT EXISTS (SELECT FROM member e WHERE e.classid = 'pg_cast'::regclass AND e.objid = c.oid)

UNION ALL
SELECT 'text_search_configuration', pg_catalog.format('%I.%I', h.nspname, c.cfgname), pg_catalog.concat_ws(' ; ',
         'parser ' || p.prsname,
         (SELECT pg_catalog.string_agg(pg_catalog.format('%s %s', m.maptokentype, m.mapdict::regdictionary), ', ' ORDER BY m.maptokentype, m.mapseqno)
            FROM pg_catalog.pg_ts_config_map m WHERE m.mapcfg = c.oid))
  FROM pg_catalog.pg_ts_config c
  JOIN home h ON h.oid = c.cfgnamespace
  JOIN pg_catalog.pg_ts_parser p ON p.oid = c.cfgparser
 WHERE NOT EXISTS (SELECT FROM member e WHERE e.classid = 'pg_ts_config'::regclass AND e.objid = c.oid)

UNION ALL
SELECT 'text_search_dictionary', pg_catalog.format('%I.%I', h.nspname, d.dictname), pg_catalog.concat_ws(' ; ', t.tmplname, 'options ' || d.dictinitoption)
  FROM pg_catalog.pg_ts_dict d
  JOIN home h ON h.oid = d.dictnamespace
  JOIN pg_catalog.pg_ts_template t ON t.oid = d.dicttemplate
 WHERE NOT EXISTS (SELECT FROM member e WHERE e.classid = 'pg_ts_dict'::regclass AND e.objid = d.oid)
