CREATE TABLE billing.notes (id bigint PRIMARY KEY);
