-- What stands in the schemas of $3 (JSON) and in lockgate, and belongs neither to the owner $1 nor to the migrator $2; by
-- owner, the first ten named, with the statements that hand them over: all of them or, where they are more than ten, none
-- (lockgate roles --adopt has them). Lockgate's own objects are apart. $4 (JSON) are the roles that must own nothing at all.
WITH thing AS (
-- include objects
), wrong AS (
  SELECT t.*, r.rolname, CASE WHEN r.rolname IN (SELECT pg_catalog.json_array_elements_text($4::json)) THEN 'owner-forbidden'
                              WHEN t.nspname = 'lockgate' THEN 'home-owner-wrong' ELSE 'owner-wrong' END AS finding
    FROM thing t
    LEFT JOIN pg_catalog.pg_roles r ON r.oid = t.owner
   WHERE r.rolname IS DISTINCT FROM $1::name AND r.rolname IS DISTINCT FROM $2::name
     AND (t.nspname = 'lockgate' OR t.nspname IN (SELECT pg_catalog.json_array_elements_text($3::json)))
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = t.class AND d.objid = t.oid AND d.deptype = 'e')
), counted AS (
  SELECT w.*, pg_catalog.row_number() OVER (PARTITION BY w.finding, w.rolname ORDER BY w.kind, w.name) AS number,
         pg_catalog.count(*) OVER (PARTITION BY w.finding, w.rolname) AS total
    FROM wrong w
)
SELECT c.finding, COALESCE(c.rolname::text, 'a dropped role'), pg_catalog.max(c.total)::text,
       pg_catalog.string_agg(pg_catalog.lower(c.kind) || ' ' || c.name, ', ' ORDER BY c.number) || CASE WHEN pg_catalog.max(c.total) > 10 THEN ', …' ELSE '' END,
       COALESCE(pg_catalog.string_agg(pg_catalog.format('ALTER %s %s OWNER TO %I;', c.kind, c.name, CASE c.nspname WHEN 'lockgate' THEN $2 ELSE $1 END), ' ' ORDER BY c.number)
                FILTER (WHERE c.total <= 10), '')
  FROM counted c
 WHERE c.number <= 10
 GROUP BY c.finding, c.rolname
 ORDER BY 1, 2
