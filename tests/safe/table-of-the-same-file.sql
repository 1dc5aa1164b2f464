-- Nobody uses a table before the file that makes it is committed.
CREATE TABLE invoices (id bigint PRIMARY KEY, no text NOT NULL, amount numeric);
CREATE UNIQUE INDEX invoices_no ON invoices (no);
ALTER TABLE invoices ADD CONSTRAINT amount_positive CHECK (amount > 0);
ALTER TABLE invoices ALTER COLUMN amount SET NOT NULL;
