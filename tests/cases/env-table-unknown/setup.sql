DO $$ BEGIN CREATE TABLE legacy (id bigint); END $$;
CREATE TABLE orders (id bigint PRIMARY KEY);
