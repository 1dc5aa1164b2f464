-- lockgate: transaction=off
CREATE INDEX CONCURRENTLY events_payload_idx ON events USING gin (payload);
