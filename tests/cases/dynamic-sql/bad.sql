CREATE FUNCTION count_of(what text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
  EXECUTE 'SELECT count(*) FROM ' || what INTO n;
  RETURN n;
END $$;
