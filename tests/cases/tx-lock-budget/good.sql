ALTER TABLE customers ADD CHECK (id > 0);
