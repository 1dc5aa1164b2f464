CREATE TYPE mood AS ENUM ('good');
CREATE TYPE color AS ENUM ('red');
CREATE TABLE people (id bigint PRIMARY KEY, mood mood);
