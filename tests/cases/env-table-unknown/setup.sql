DO $$ BEGIN EXECUTE 'CREATE TABLE ' || 'legacy (id bigint)'; END $$;
CREATE TABLE orders (id bigint PRIMARY KEY);
