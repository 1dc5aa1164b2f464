-- lockgate: phase=expand transaction=off statement_timeout=30min
-- lockgate: estimate rows=180000 seconds=3
-- One account an e-mail address. Support has merged the last double accounts (there were
-- 14); should one have come back, the build fails and no row is touched.

CREATE UNIQUE INDEX CONCURRENTLY customers_email_key ON shop.customers (email);
