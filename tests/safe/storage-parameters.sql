-- Fill factor and autovacuum settings let reads and writes go on.
ALTER TABLE orders SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01);
