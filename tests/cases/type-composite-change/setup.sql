CREATE TYPE address AS (street text, city text);
CREATE TABLE offices OF address;
