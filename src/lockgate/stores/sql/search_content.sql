-- Digests of a physical index, made where the rows are: one line for each non-empty bucket. The frames are those of canonical.py.
SELECT b, count(*), sha256(string_agg(d, ''::bytea ORDER BY d))
  FROM (SELECT (get_byte(k, 0) << 2) | (get_byte(k, 1) >> 6) AS b, sha256('\x4c'::bytea || int8send(length(body)) || body) AS d
          FROM (SELECT sha256(i) AS k,
                       '\x530000000000000011'::bytea || 'lockgate:record:1'::bytea || '\x53'::bytea || int8send(length(i)) || i
                        || '\x53'::bytea || int8send(length(t)) || t || '\x53'::bytea || int8send(length(p)) || p
                        || '\x42'::bytea || int8send(length(v)) || v AS body
                  FROM (SELECT convert_to(id, 'UTF8') AS i, convert_to(text, 'UTF8') AS t, convert_to(payload, 'UTF8') AS p, {vector} AS v
                          FROM {table} OFFSET 0) r OFFSET 0) q OFFSET 0) s
 GROUP BY b
