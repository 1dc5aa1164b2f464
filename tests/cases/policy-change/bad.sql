DROP POLICY own_rows ON orders;
