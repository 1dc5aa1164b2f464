-- The search structure of a physical index: access method, operator class, options, validity.
SELECT a.amname, o.opcname, COALESCE(array_to_string(c.reloptions, ','), ''), i.indisvalid AND i.indisready AND i.indislive, c.relname
  FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_am a ON a.oid = c.relam
  JOIN pg_catalog.pg_opclass o ON o.oid = i.indclass[0]
 WHERE i.indrelid = $1::regclass AND NOT i.indisprimary
