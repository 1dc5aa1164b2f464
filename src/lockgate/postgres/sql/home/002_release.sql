-- Format 2, the release pipeline: who approved what.

CREATE TABLE lockgate.approval (
  approval_id text PRIMARY KEY,
  environment text NOT NULL,
  plan_hash text NOT NULL,
  approver text NOT NULL,
  role text NOT NULL,
  approved_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  expires_at timestamptz NOT NULL,
  revoked_at timestamptz,
  reason text NOT NULL DEFAULT '',
  detail jsonb NOT NULL DEFAULT '{}'
);
