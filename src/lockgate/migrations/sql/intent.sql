-- The journal row of statement $2 of file $1, written before the statement runs. No row comes back when epoch $8 is over.
INSERT INTO lockgate.migration_step AS s (revision_id, number, statement_hash, statement, kind, state, before_state, run_id, epoch)
SELECT $1::text, $2::integer, $3::text, $4::text, $5::text, 'running', $6::jsonb, $7::text, f.epoch
  FROM lockgate.fence f WHERE f.epoch = $8::bigint FOR UPDATE
ON CONFLICT (revision_id, number) DO UPDATE
   SET state = 'running', attempts = s.attempts + 1, run_id = excluded.run_id, epoch = excluded.epoch,
       statement_hash = excluded.statement_hash, statement = excluded.statement, kind = excluded.kind
RETURNING attempts::text
