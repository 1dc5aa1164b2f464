-- lockgate: phase=expand lock_timeout=2s statement_timeout=30s
-- Makes the index of the file before a constraint, so that ON CONFLICT ON CONSTRAINT and
-- the error text have a name to show. Nothing is read.

ALTER TABLE shop.customers
  ADD CONSTRAINT customers_email_key UNIQUE USING INDEX customers_email_key;
