-- lockgate: phase=expand lock_timeout=2s statement_timeout=30s
-- What the payment provider told us, one row an attempt.
-- There is no foreign key to orders: PostgreSQL before 18 validates a NOT VALID key to a
-- partitioned table on the parent only and leaves it "not valid" on each month, and a key
-- in CREATE TABLE would lock all months for a moment. verify/payments_match_orders.sql checks it.

CREATE TABLE shop.payments (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  order_id bigint NOT NULL,
  order_placed_at timestamptz NOT NULL,
  provider text NOT NULL,
  provider_reference text NOT NULL,
  state text NOT NULL DEFAULT 'authorised',
  amount_cents bigint NOT NULL,
  currency text NOT NULL DEFAULT 'EUR',
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT payments_provider_reference_key UNIQUE (provider, provider_reference),
  CONSTRAINT payments_state_is_known
    CHECK (state IN ('authorised', 'captured', 'refunded', 'failed')),
  CONSTRAINT payments_amount_is_positive CHECK (amount_cents > 0)
);

CREATE INDEX payments_order_idx ON shop.payments (order_id, order_placed_at);

COMMENT ON TABLE shop.payments IS
  'Payment attempts. (provider, provider_reference) makes a repeated webhook harmless.';
