-- Statement $2 of file $1 is done. No row comes back when epoch $6 is over.
INSERT INTO lockgate.migration_step AS s (revision_id, number, statement_hash, statement, kind, state, run_id, epoch, finished_at)
SELECT $1::text, $2::integer, $3::text, $4::text, $7::text, 'done', $5::text, f.epoch, pg_catalog.clock_timestamp()
  FROM lockgate.fence f WHERE f.epoch = $6::bigint FOR UPDATE
ON CONFLICT (revision_id, number) DO UPDATE SET state = 'done', statement_hash = excluded.statement_hash, statement = excluded.statement, kind = excluded.kind, finished_at = pg_catalog.clock_timestamp(), run_id = excluded.run_id, epoch = excluded.epoch
RETURNING state
