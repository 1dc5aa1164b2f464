-- Every value of the old type fits the new one, so none is looked at.
ALTER TABLE orders ALTER COLUMN code TYPE varchar(40);
