CREATE TABLE visits (id bigint PRIMARY KEY, at timestamp);
CREATE INDEX visits_at_idx ON visits (at);
