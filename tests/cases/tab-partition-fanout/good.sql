CREATE INDEX events_at ON ONLY events (at);
