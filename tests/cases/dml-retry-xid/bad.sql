DO $$
BEGIN
  LOOP
    BEGIN
      UPDATE orders SET total = qty WHERE total IS NULL AND id < 10;
    EXCEPTION WHEN unique_violation THEN
      NULL;
    END;
    EXIT WHEN NOT FOUND;
  END LOOP;
END $$;
