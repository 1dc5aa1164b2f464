CREATE TABLE customers (id serial PRIMARY KEY, name varchar(50), seen timestamp, balance float8);
