-- Every statement of the block is read, and none changes the schema.
DO $$ BEGIN UPDATE customers SET email = lower(email) WHERE id = 1; PERFORM 1 FROM orders WHERE id = 1; END $$;
