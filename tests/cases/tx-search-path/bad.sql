SET LOCAL search_path = biling, public;
CREATE TABLE notes (id bigint PRIMARY KEY);
