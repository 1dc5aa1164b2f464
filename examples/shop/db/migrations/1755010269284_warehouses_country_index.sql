-- lockgate: phase=expand lock_timeout=2s statement_timeout=30s
-- lockgate: estimate rows=11 seconds=0
-- Shipping looks warehouses up by country. With eleven rows, written to twice a year, a
-- plain build is over before anybody notices; that is what the exception below says.

-- lockgate: allow=idx-create-blocking until=2099-01-01 reason="eleven rows, written to twice a year"
CREATE INDEX warehouses_country_idx ON shop.warehouses (country_code);
