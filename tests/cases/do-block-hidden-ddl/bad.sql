DO $$ BEGIN ALTER TABLE orders ADD COLUMN hidden text; END $$;
