-- The outboxes of moves that the application writes, each with the statement for its oldest operation that the other side lacks:
-- one that waits (state 0) or was set aside (2). Only what the role may read.
SELECT pg_catalog.substring(c.relname::text, '^dual2?_(.*)_op$'),
       pg_catalog.format('(SELECT pg_catalog.min(o.at) FROM lockgate.%1$I o WHERE o.state = 0), (SELECT pg_catalog.min(o.at) FROM lockgate.%1$I o WHERE o.state = 2)', c.relname)
  FROM pg_catalog.pg_class c
 WHERE c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = 'lockgate')
   AND c.relkind = 'r' AND c.relname ~ '^dual2?_.*_op$' AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
 ORDER BY 1
