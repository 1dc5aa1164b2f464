-- lockgate: phase=expand lock_timeout=2s statement_timeout=30s
-- Events for the mailer, the warehouse and the search feed, written in the transaction of
-- the change they tell of. The relay takes a row by deleting it: ids commit out of order,
-- so "everything after the last id" would lose some.

CREATE TABLE shop.outbox (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  topic text NOT NULL,
  entity_key text NOT NULL,
  payload jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0.01);

COMMENT ON TABLE shop.outbox IS 'Events not yet handed over; empty when all is well.';
