ALTER TABLE orders INHERIT archive;
