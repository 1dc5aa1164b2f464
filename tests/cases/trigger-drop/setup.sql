CREATE TABLE orders (id bigint PRIMARY KEY, tenant text);
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER orders_noted AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION noted();
CREATE POLICY own_rows ON orders USING (tenant = current_user);
