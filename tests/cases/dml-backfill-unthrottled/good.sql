CREATE PROCEDURE fill() LANGUAGE plpgsql AS $$
BEGIN
  LOOP
    UPDATE orders SET total = qty WHERE id IN (SELECT id FROM orders WHERE total IS NULL ORDER BY id LIMIT 1000);
    COMMIT;
    PERFORM pg_sleep(0.1);
    EXIT WHEN NOT FOUND;
  END LOOP;
END $$;
