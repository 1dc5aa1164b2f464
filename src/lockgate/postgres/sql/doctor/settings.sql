-- Settings that a session gets at login, for everybody or for one of the roles in $1 (a JSON list of names).
SELECT pg_catalog.lower(pg_catalog.split_part(c.setting, '=', 1)), pg_catalog.substr(c.setting, pg_catalog.strpos(c.setting, '=') + 1),
       CASE WHEN r.rolname IS NULL THEN 'ROLE ALL' ELSE 'ROLE ' || pg_catalog.quote_ident(r.rolname) END,
       CASE WHEN d.datname IS NULL THEN '' ELSE ' IN DATABASE ' || pg_catalog.quote_ident(d.datname) END
  FROM pg_catalog.pg_db_role_setting s
  CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS c(setting)
  LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
  LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
 WHERE (s.setrole = 0 OR r.rolname IN (SELECT pg_catalog.json_array_elements_text($1::json)))
   AND (s.setdatabase = 0 OR d.datname = pg_catalog.current_database())
 ORDER BY 1, 3, 4
