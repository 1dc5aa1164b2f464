-- What the four roles can do that they should not, and cannot do that they must: finding, role, what, statement that mends it.
-- $1 owner, $2 migrator, $3 app, $4 reader, $5 the schemas (JSON). A superuser may do everything, so only that is said of it.
WITH role AS (
  SELECT w.part, pg_catalog.quote_ident(w.name) AS name, r.*
    FROM (VALUES ('owner', $1::name), ('migrator', $2::name), ('app', $3::name), ('reader', $4::name)) AS w(part, name)
    LEFT JOIN pg_catalog.pg_roles r ON r.rolname = w.name
), plain AS (
  SELECT * FROM role WHERE NOT rolsuper
), user_role AS (
  -- Whoever is a member of owner or migrator inherits all of theirs, which is said once.
  SELECT p.* FROM plain p
   WHERE p.part IN ('app', 'reader')
     AND NOT EXISTS (SELECT FROM role o WHERE o.part IN ('owner', 'migrator') AND pg_catalog.pg_has_role(p.oid, o.oid, 'MEMBER'))
), wanted AS (
  SELECT s.name FROM pg_catalog.json_array_elements_text($5::json) AS s(name)
), here AS (
  SELECT n.oid, n.nspname, n.nspacl, n.nspowner, pg_catalog.quote_ident(n.nspname) AS name FROM pg_catalog.pg_namespace n JOIN wanted w ON w.name = n.nspname
), home AS (
  SELECT n.oid, n.nspname, n.nspacl, n.nspowner, pg_catalog.quote_ident(n.nspname) AS name FROM pg_catalog.pg_namespace n WHERE n.nspname = 'lockgate'
), public_creates AS (
  SELECT n.oid, pg_catalog.quote_ident(n.nspname) AS name
    FROM pg_catalog.pg_namespace n, pg_catalog.aclexplode(COALESCE(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) AS x
   WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND x.grantee = 0 AND x.privilege_type = 'CREATE'
), relation AS (
  SELECT c.oid, c.relkind, c.relispartition, c.relowner, c.oid::regclass::text AS name, n.name AS schema, n.nspname = 'lockgate' AS ours, c.relname,
         EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') AS member
    FROM pg_catalog.pg_class c JOIN (SELECT * FROM here UNION ALL SELECT * FROM home WHERE nspname NOT IN (SELECT nspname FROM here)) n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
), may AS (
  -- Role, relation, privilege; whether it should have it; whether it has it.
  SELECT u.part, u.name AS role, r.schema, r.name, r.member, p.privilege,
         CASE WHEN r.ours THEN p.privilege = 'SELECT' OR (u.part = 'app' AND (r.relname = 'instance' AND p.privilege IN ('INSERT', 'UPDATE', 'DELETE')
                OR r.relname = 'warm_up' AND p.privilege = 'INSERT'
                OR r.relname = 'write_intent' AND p.privilege IN ('INSERT', 'UPDATE', 'DELETE') OR r.relname = 'gate_attempt' AND p.privilege IN ('INSERT', 'UPDATE')))
              WHEN u.part = 'app' THEN p.privilege IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
              ELSE p.privilege = 'SELECT' END AS should,
         -- Partitions are reached through their parent, and not every view can be written.
         CASE WHEN r.relkind IN ('v', 'm', 'f') THEN p.privilege = 'SELECT' ELSE NOT r.relispartition END AS needed,
         pg_catalog.has_table_privilege(u.oid, r.oid, p.privilege) AS has
    FROM user_role u CROSS JOIN relation r CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE'), ('REFERENCES'), ('TRIGGER')) AS p(privilege)
   WHERE r.relkind <> 'S' AND NOT pg_catalog.pg_has_role(u.oid, r.relowner, 'MEMBER')
)
SELECT 'role-missing', r.part, r.name, '', '' FROM role r WHERE r.oid IS NULL

UNION ALL
SELECT 'role-too-strong', r.part, r.name, a.word, pg_catalog.format('ALTER ROLE %s NO%s;', r.name, a.word)
  FROM role r CROSS JOIN LATERAL (VALUES ('SUPERUSER', r.rolsuper), ('CREATEROLE', r.rolcreaterole), ('CREATEDB', r.rolcreatedb),
                                         ('REPLICATION', r.rolreplication), ('BYPASSRLS', r.rolbypassrls)) AS a(word, has)
 WHERE a.has AND (a.word = 'SUPERUSER' OR NOT r.rolsuper)

UNION ALL
SELECT 'owner-can-log-in', r.part, r.name, 'LOGIN', pg_catalog.format('ALTER ROLE %s NOLOGIN;', r.name)
  FROM role r WHERE r.part = 'owner' AND r.rolcanlogin

UNION ALL
SELECT 'role-member', a.part, a.name, pg_catalog.format('member of %s %s', b.part, b.name), pg_catalog.format('REVOKE %s FROM %s;', b.name, a.name)
  FROM plain a JOIN role b ON (a.part IN ('app', 'reader') AND b.part IN ('owner', 'migrator')) OR (a.part = 'reader' AND b.part = 'app')
 WHERE a.oid <> b.oid AND pg_catalog.pg_has_role(a.oid, b.oid, 'MEMBER')

UNION ALL
SELECT 'public-creates', 'public', 'PUBLIC', pg_catalog.format('CREATE on schema %s', p.name), pg_catalog.format('REVOKE CREATE ON SCHEMA %s FROM PUBLIC;', p.name)
  FROM public_creates p

UNION ALL
SELECT 'role-creates', u.part, u.name, pg_catalog.format('CREATE on schema %I', n.nspname), pg_catalog.format('REVOKE CREATE ON SCHEMA %I FROM %s;', n.nspname, u.name)
  FROM user_role u CROSS JOIN pg_catalog.pg_namespace n
 WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.oid NOT IN (SELECT p.oid FROM public_creates p) AND pg_catalog.has_schema_privilege(u.oid, n.oid, 'CREATE')

UNION ALL
SELECT 'role-creates', u.part, u.name, 'CREATE on the database', pg_catalog.format('REVOKE CREATE ON DATABASE %I FROM %s, PUBLIC;', pg_catalog.current_database(), u.name)
  FROM user_role u WHERE pg_catalog.has_database_privilege(u.oid, pg_catalog.current_database(), 'CREATE')

UNION ALL
SELECT 'privilege-excess', m.part, m.role, pg_catalog.format('%s on %s tables of schema %s: %s', m.privilege, pg_catalog.count(*), m.schema, pg_catalog.string_agg(m.name, ', ' ORDER BY m.name)),
       pg_catalog.format('REVOKE %s ON %s FROM %s, PUBLIC;', m.privilege, pg_catalog.string_agg(m.name, ', ' ORDER BY m.name), m.role)
  FROM (SELECT *, pg_catalog.row_number() OVER (PARTITION BY part, schema, privilege ORDER BY name) AS number FROM may WHERE has AND NOT should AND NOT member) m
 WHERE m.number <= 10
 GROUP BY m.part, m.role, m.schema, m.privilege

UNION ALL
SELECT 'privilege-missing', m.part, m.role, pg_catalog.format('%s on tables of schema %s: %s', m.privilege, m.schema, pg_catalog.string_agg(m.name, ', ' ORDER BY m.name)),
       pg_catalog.format('GRANT %s ON %s TO %s;', m.privilege, pg_catalog.string_agg(m.name, ', ' ORDER BY m.name), m.role)
  FROM (SELECT *, pg_catalog.row_number() OVER (PARTITION BY part, schema, privilege ORDER BY name) AS number FROM may WHERE should AND needed AND NOT has AND NOT member) m
 WHERE m.number <= 10
 GROUP BY m.part, m.role, m.schema, m.privilege

UNION ALL
SELECT 'privilege-missing', u.part, u.name, pg_catalog.format('USAGE on schema %s', h.name), pg_catalog.format('GRANT USAGE ON SCHEMA %s TO %s;', h.name, u.name)
  FROM user_role u CROSS JOIN (SELECT * FROM here UNION SELECT * FROM home) h
 WHERE NOT pg_catalog.has_schema_privilege(u.oid, h.oid, 'USAGE')

UNION ALL
SELECT 'privilege-missing', u.part, u.name, pg_catalog.format('USAGE on sequence %s', r.name), pg_catalog.format('GRANT USAGE, SELECT ON SEQUENCE %s TO %s;', r.name, u.name)
  FROM user_role u CROSS JOIN relation r
 WHERE u.part = 'app' AND r.relkind = 'S' AND NOT r.ours AND NOT r.member AND NOT pg_catalog.has_sequence_privilege(u.oid, r.oid, 'USAGE')
   -- Identity columns advance their sequence by themselves.
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'i')

UNION ALL
SELECT 'privilege-missing', u.part, u.name, 'EXECUTE on ' || p.oid::regprocedure, pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO %s;', p.oid::regprocedure, u.name)
  FROM user_role u CROSS JOIN pg_catalog.pg_proc p JOIN home h ON h.oid = p.pronamespace
 WHERE p.proname = 'gate_v1' AND NOT pg_catalog.has_function_privilege(u.oid, p.oid, 'EXECUTE')

UNION ALL
SELECT 'default-privileges-missing', u.part, u.name, pg_catalog.format('tables that %s will make in schema %s', m.name, h.name),
       pg_catalog.format('ALTER DEFAULT PRIVILEGES FOR ROLE %s IN SCHEMA %s GRANT %s ON TABLES TO %s;', m.name, h.name,
              CASE WHEN u.part = 'app' AND h.nspname <> 'lockgate' THEN 'SELECT, INSERT, UPDATE, DELETE' ELSE 'SELECT' END, u.name)
  FROM user_role u CROSS JOIN (SELECT * FROM here UNION SELECT * FROM home) h JOIN role m ON m.part = 'migrator' AND m.oid IS NOT NULL
 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_default_acl d, pg_catalog.aclexplode(d.defaclacl) AS x
                    WHERE d.defaclrole = m.oid AND d.defaclnamespace IN (0, h.oid) AND d.defaclobjtype = 'r' AND x.grantee IN (0, u.oid)
                      AND x.privilege_type = CASE WHEN u.part = 'app' AND h.nspname <> 'lockgate' THEN 'INSERT' ELSE 'SELECT' END)

UNION ALL
SELECT 'migrator-lacks', p.part, p.name, pg_catalog.format('%s on the database', x.privilege), pg_catalog.format('GRANT %s ON DATABASE %I TO %s;', x.privilege, pg_catalog.current_database(), p.name)
  FROM plain p CROSS JOIN (VALUES ('CONNECT'), ('CREATE'), ('TEMPORARY')) AS x(privilege)
 WHERE p.part = 'migrator' AND NOT pg_catalog.has_database_privilege(p.oid, pg_catalog.current_database(), x.privilege)

UNION ALL
SELECT 'migrator-lacks', p.part, p.name, pg_catalog.format('%s on schema %s', x.privilege, h.name), pg_catalog.format('GRANT %s ON SCHEMA %s TO %s;', x.privilege, h.name, p.name)
  FROM plain p CROSS JOIN (SELECT * FROM here UNION SELECT * FROM home) h CROSS JOIN (VALUES ('USAGE'), ('CREATE')) AS x(privilege)
 WHERE p.part = 'migrator' AND NOT pg_catalog.has_schema_privilege(p.oid, h.oid, x.privilege)
   -- What stands in lockgate and belongs to somebody else is said once, by owners.sql.
   AND (h.nspname <> 'lockgate' OR pg_catalog.pg_has_role(p.oid, h.nspowner, 'USAGE'))

UNION ALL
SELECT 'migrator-lacks', l.part, l.role, pg_catalog.format('%s on %s', l.privilege, pg_catalog.string_agg(l.name, ', ' ORDER BY l.name)),
       pg_catalog.format('GRANT %s ON %s TO %s;', l.privilege, pg_catalog.string_agg(l.name, ', ' ORDER BY l.name), l.role)
  FROM (SELECT p.part, p.name AS role, x.privilege, r.name
          FROM plain p CROSS JOIN relation r CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) AS x(privilege)
         WHERE p.part = 'migrator' AND r.ours AND r.relkind IN ('r', 'p') AND NOT pg_catalog.has_table_privilege(p.oid, r.oid, x.privilege)
           AND pg_catalog.pg_has_role(p.oid, r.relowner, 'USAGE')) l
 GROUP BY l.part, l.role, l.privilege

UNION ALL
SELECT 'migrator-lacks', p.part, p.name, pg_catalog.format('the privileges of owner %s', o.name), pg_catalog.format('ALTER ROLE %s INHERIT; GRANT %s TO %s;', p.name, o.name, p.name)
  FROM plain p JOIN role o ON o.part = 'owner' AND o.oid IS NOT NULL
 WHERE p.part = 'migrator' AND NOT pg_catalog.pg_has_role(p.oid, o.oid, 'USAGE')

UNION ALL
SELECT 'migrator-blind', p.part, p.name, 'pg_read_all_stats', pg_catalog.format('GRANT pg_read_all_stats TO %s;', p.name)
  FROM plain p
 WHERE p.part = 'migrator' AND NOT pg_catalog.pg_has_role(p.oid, 'pg_read_all_stats', 'USAGE')

UNION ALL
SELECT 'schema-missing', '', pg_catalog.quote_ident(w.name), '', '' FROM wanted w WHERE w.name NOT IN (SELECT h.nspname FROM here h)
