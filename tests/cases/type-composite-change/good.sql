CREATE TYPE address_2 AS (street text, city text, country text);
