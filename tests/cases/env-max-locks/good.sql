ALTER TABLE events_0 SET (fillfactor = 90);
