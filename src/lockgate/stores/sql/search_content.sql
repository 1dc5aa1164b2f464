-- Digests of a physical index, made where the rows are: one line for each non-empty bucket. The frames are those of canonical.py.
SELECT b, count(*), sha256(string_agg(d, ''::bytea ORDER BY d))
  FROM (SELECT (get_byte(sha256(convert_to(id, 'UTF8')), 0) << 2) | (get_byte(sha256(convert_to(id, 'UTF8')), 1) >> 6) AS b,
               sha256('\x4c'::bytea || int8send(length(body)) || body) AS d
          FROM (SELECT id, '\x530000000000000011'::bytea || 'lockgate:record:1'::bytea
                        || '\x53'::bytea || int8send(octet_length(convert_to(id, 'UTF8'))) || convert_to(id, 'UTF8')
                        || '\x53'::bytea || int8send(octet_length(convert_to(text, 'UTF8'))) || convert_to(text, 'UTF8')
                        || '\x53'::bytea || int8send(octet_length(convert_to(payload, 'UTF8'))) || convert_to(payload, 'UTF8')
                        || '\x42'::bytea || int8send(length(v)) || v AS body
                  FROM (SELECT id, text, payload, {vector} AS v FROM {table} OFFSET 0) r OFFSET 0) q OFFSET 0) s
 GROUP BY b
