DO $$
BEGIN
  LOOP
    UPDATE orders SET total = qty WHERE total IS NULL AND id < 10;
    EXIT WHEN NOT FOUND;
  END LOOP;
END $$;
