-- lockgate: phase=contract
CREATE OR REPLACE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit VALUES ('new'); RETURN new; END $$;
ALTER TABLE orders DROP COLUMN note;
