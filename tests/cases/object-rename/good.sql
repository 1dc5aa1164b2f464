CREATE VIEW purchases AS SELECT id FROM orders;
