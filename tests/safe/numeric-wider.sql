-- More digits in front of the point; those behind it stay.
ALTER TABLE orders ALTER COLUMN total TYPE numeric(14, 2);
