CREATE TABLE orders (id bigint PRIMARY KEY, qty integer, total integer);
CREATE FUNCTION to_total() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.total := NEW.qty; RETURN NEW; END $$;
