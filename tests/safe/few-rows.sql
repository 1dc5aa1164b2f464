-- Some rows of a known key.
INSERT INTO customers (id, email) VALUES (1, 'a@example.org') ON CONFLICT (id) DO NOTHING;
