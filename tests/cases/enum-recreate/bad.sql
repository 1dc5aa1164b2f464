ALTER TYPE mood RENAME TO mood_old;
CREATE TYPE mood AS ENUM ('sad', 'fine');
ALTER TABLE people ALTER COLUMN mood TYPE mood USING mood::text::mood;
