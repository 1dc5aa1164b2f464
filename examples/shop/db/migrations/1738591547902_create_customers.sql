-- lockgate: phase=expand lock_timeout=2s statement_timeout=30s
-- Customers and their address book. The foreign key may stand in CREATE TABLE because
-- both tables are born here: nobody can be waiting for a lock on them.

CREATE TABLE shop.customers (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  email text NOT NULL,
  full_name text NOT NULL,
  locale text NOT NULL DEFAULT 'en',
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT customers_email_is_lower_case CHECK (email = lower(email)),
  CONSTRAINT customers_email_has_at CHECK (position('@' IN email) > 1)
);

COMMENT ON TABLE shop.customers IS 'People who can sign in. Erased on request; their orders stay.';

CREATE TRIGGER customers_touch
BEFORE UPDATE ON shop.customers
FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*)
EXECUTE FUNCTION shop.touch_updated_at();

CREATE TABLE shop.addresses (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  customer_id bigint NOT NULL,
  label text NOT NULL DEFAULT 'home',
  recipient text NOT NULL,
  street text NOT NULL,
  postal_code text NOT NULL,
  city text NOT NULL,
  country_code text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT addresses_country_code_is_iso CHECK (country_code ~ '^[A-Z]{2}$'),
  CONSTRAINT addresses_customer_fk
    FOREIGN KEY (customer_id) REFERENCES shop.customers (id) ON DELETE RESTRICT
);

CREATE INDEX addresses_customer_idx ON shop.addresses (customer_id);

COMMENT ON TABLE shop.addresses IS 'Address book. An order keeps its own copy of the address it ships to.';
