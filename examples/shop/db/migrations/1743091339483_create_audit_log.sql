-- lockgate: phase=expand lock_timeout=2s statement_timeout=30s
-- Who changed what in the back office. Rows can be added and read, never altered.

CREATE TABLE shop.audit_log (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  happened_at timestamptz NOT NULL DEFAULT now(),
  actor text NOT NULL,
  action text NOT NULL,
  entity text NOT NULL,
  entity_id bigint NOT NULL,
  before_change jsonb,
  after_change jsonb
);

CREATE INDEX audit_log_entity_idx ON shop.audit_log (entity, entity_id);
CREATE INDEX audit_log_happened_at_idx ON shop.audit_log USING brin (happened_at);

COMMENT ON TABLE shop.audit_log IS 'Back-office changes, append-only.';

CREATE FUNCTION shop.refuse_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
  RAISE EXCEPTION '% is append-only', TG_TABLE_NAME
    USING ERRCODE = 'restrict_violation';
END
$$;

CREATE TRIGGER audit_log_is_append_only
BEFORE UPDATE OR DELETE OR TRUNCATE ON shop.audit_log
FOR EACH STATEMENT
EXECUTE FUNCTION shop.refuse_change();
