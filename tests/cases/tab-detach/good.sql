-- lockgate: transaction=off
ALTER TABLE events DETACH PARTITION events_2030 CONCURRENTLY;
