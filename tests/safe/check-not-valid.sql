-- NOT VALID leaves the rows that are there alone.
ALTER TABLE orders ADD CONSTRAINT code_short CHECK (length(code) < 10) NOT VALID;
