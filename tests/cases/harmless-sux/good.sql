CREATE TABLE codes (code text PRIMARY KEY);
COMMENT ON TABLE codes IS 'nobody uses it yet';
