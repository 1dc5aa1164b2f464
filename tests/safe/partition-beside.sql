-- Made as a plain table with the CHECK that proves its bounds, then attached: the parent stays open.
CREATE TABLE events_2030 (LIKE events, CONSTRAINT only_2030 CHECK (at >= '2030-01-01' AND at < '2031-01-01'));
ALTER TABLE events ATTACH PARTITION events_2030 FOR VALUES FROM ('2030-01-01') TO ('2031-01-01');
