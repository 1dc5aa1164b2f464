CREATE FUNCTION count_of(what text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
  EXECUTE format('SELECT count(*) FROM %I', what) INTO n;
  RETURN n;
END $$;
