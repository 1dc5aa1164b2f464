-- Which server and database this is, and a fixed vector through its hash: two servers that agree on it may compare hashes.
SELECT (SELECT system_identifier::text FROM pg_catalog.pg_control_system()),
       (SELECT oid::text FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()),
       pg_catalog.current_setting('server_encoding'), pg_catalog.pg_is_in_recovery(),
       pg_catalog.concat_ws('/',
         pg_catalog.hash_record_extended(ROW('\x'::bytea), 1), pg_catalog.hash_record_extended(ROW('\x00'::bytea), 2),
         pg_catalog.hash_record_extended(ROW(pg_catalog.record_send(ROW(1::bigint, 'lockgate'::text, NULL::text, 1.50::numeric, 0.1::double precision))), 1),
         pg_catalog.hash_record_extended(ROW(pg_catalog.convert_to(pg_catalog.repeat('lock gate ', 40), 'UTF8')), 2),
         pg_catalog.hashint8extended(-7, 0), pg_catalog.hashint8extended(9007199254740993, 0)),
       (SELECT pg_catalog.concat_ws('/', d.datcollate, d.datctype, pg_catalog.to_jsonb(d) ->> 'datlocprovider', COALESCE(pg_catalog.to_jsonb(d) ->> 'datlocale', pg_catalog.to_jsonb(d) ->> 'daticulocale'), pg_catalog.to_jsonb(d) ->> 'datcollversion')
          FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
