-- Settings that a session gets at login, for everybody or for one of the roles in $1 (a JSON list of names).
SELECT lower(split_part(c.setting, '=', 1)), substr(c.setting, strpos(c.setting, '=') + 1),
       CASE WHEN r.rolname IS NULL THEN 'ROLE ALL' ELSE 'ROLE ' || quote_ident(r.rolname) END,
       CASE WHEN d.datname IS NULL THEN '' ELSE ' IN DATABASE ' || quote_ident(d.datname) END
  FROM pg_catalog.pg_db_role_setting s
  CROSS JOIN LATERAL unnest(s.setconfig) AS c(setting)
  LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
  LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
 WHERE (s.setrole = 0 OR r.rolname IN (SELECT json_array_elements_text($1::json)))
   AND (s.setdatabase = 0 OR d.datname = current_database())
 ORDER BY 1, 3, 4
