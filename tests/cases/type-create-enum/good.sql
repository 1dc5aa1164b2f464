CREATE TABLE moods (name text PRIMARY KEY);
INSERT INTO moods (name) VALUES ('sad'), ('ok');
