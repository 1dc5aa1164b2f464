-- The record digests of chosen ids of a physical index, made where the rows are. The frames are those of search_content.sql.
SELECT convert_from(i, 'UTF8'), sha256('\x4c'::bytea || int8send(length(body)) || body)
  FROM (SELECT i, '\x530000000000000011'::bytea || 'lockgate:record:1'::bytea || '\x53'::bytea || int8send(length(i)) || i
                   || '\x53'::bytea || int8send(length(t)) || t || '\x53'::bytea || int8send(length(p)) || p
                   || '\x42'::bytea || int8send(length(v)) || v AS body
          FROM (SELECT convert_to(id, 'UTF8') AS i, convert_to(text, 'UTF8') AS t, convert_to(payload, 'UTF8') AS p, {vector} AS v
                  FROM {table} WHERE id = ANY ($1::text[]) OFFSET 0) r OFFSET 0) q
