-- A schema with one of nearly everything that the model knows.
CREATE SCHEMA app;
CREATE TYPE app.state AS ENUM ('new', 'paid', 'sent');
CREATE TYPE address AS (street text, city varchar(40));
CREATE DOMAIN email AS text CONSTRAINT email_at CHECK (position('@' IN VALUE) > 1);
CREATE DOMAIN app.amount AS numeric(10, 2) NOT NULL;
CREATE FUNCTION app.stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n * 2';
CREATE SEQUENCE app.ticket;
CREATE TABLE customers (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  mail email NOT NULL,
  name varchar(80) COLLATE "C" NOT NULL,
  home address,
  tags text[] NOT NULL DEFAULT '{}',
  joined timestamptz(3) NOT NULL DEFAULT now(),
  token uuid DEFAULT gen_random_uuid(),
  loud text GENERATED ALWAYS AS (upper(name)) STORED,
  CONSTRAINT customers_name_there CHECK (name IS NOT NULL AND length(name) > 0)
);
CREATE UNIQUE INDEX customers_mail ON customers (lower(mail));
CREATE INDEX customers_joined ON customers (joined DESC, id) INCLUDE (name) WHERE joined > '2020-01-01';
CREATE TABLE app.products (
  id serial PRIMARY KEY,
  sku char(12) UNIQUE,
  price app.amount,
  ticket bigint DEFAULT nextval('app.ticket'),
  valid_in tstzrange,
  EXCLUDE USING gist (valid_in WITH &&)
);
CREATE TABLE app.orders (
  id bigint NOT NULL,
  at timestamptz NOT NULL,
  customer bigint NOT NULL REFERENCES customers ON DELETE CASCADE,
  product int CONSTRAINT orders_product REFERENCES app.products (id),
  state app.state NOT NULL DEFAULT 'new',
  PRIMARY KEY (id, at)
) PARTITION BY RANGE (at);
CREATE INDEX orders_customer ON app.orders (customer);
CREATE TABLE app.orders_2029 PARTITION OF app.orders FOR VALUES FROM ('2029-01-01') TO ('2030-01-01');
CREATE TABLE app.orders_rest PARTITION OF app.orders DEFAULT;
CREATE TRIGGER orders_stamp BEFORE UPDATE ON app.orders FOR EACH ROW EXECUTE FUNCTION app.stamp();
CREATE TABLE notes (id int, body text, customer bigint);
ALTER TABLE notes ADD CONSTRAINT notes_customer FOREIGN KEY (customer) REFERENCES customers (id) NOT VALID;
ALTER TABLE notes ADD CONSTRAINT notes_body CHECK (body IS NOT NULL) NOT VALID;
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
ALTER TABLE notes REPLICA IDENTITY FULL;
CREATE POLICY notes_own ON notes USING (id > 0);
CREATE STATISTICS notes_both ON id, customer FROM notes;
CREATE TABLE parent (a int NOT NULL, CONSTRAINT parent_a CHECK (a > 0));
CREATE TABLE child (b int) INHERITS (parent);
CREATE UNLOGGED TABLE scratch (id int);
CREATE VIEW open_orders AS SELECT o.id, c.mail FROM app.orders o JOIN customers c ON c.id = o.customer WHERE o.state = 'new';
CREATE VIEW app.mails AS SELECT mail FROM open_orders;
CREATE MATERIALIZED VIEW app.totals AS SELECT customer, count(*) AS n FROM app.orders GROUP BY customer;
CREATE UNIQUE INDEX totals_customer ON app.totals (customer);
CREATE RULE scratch_quiet AS ON DELETE TO scratch DO INSTEAD NOTHING;
CREATE PUBLICATION changes FOR TABLE customers (id, mail), notes;
CREATE SEQUENCE asked;
CREATE DOMAIN numbered AS bigint DEFAULT nextval('asked');
CREATE DOMAIN numbered_too AS numbered;
CREATE DOMAIN once AS int DEFAULT 1;
CREATE DOMAIN nothing_said AS once DEFAULT NULL;
CREATE TABLE with_domains (id numbered, other numbered_too, kind once DEFAULT NULL, plain int DEFAULT NULL, last nothing_said);
CREATE TABLE in_bytes (name text COLLATE "C", k int) PARTITION BY RANGE (name COLLATE "C", k int4_ops);
CREATE TABLE by_pattern (name text, k int) PARTITION BY LIST (name text_pattern_ops);
CREATE TABLE other_order (name text) PARTITION BY LIST (name COLLATE "C");
