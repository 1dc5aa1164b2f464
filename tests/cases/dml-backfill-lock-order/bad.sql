DO $$
BEGIN
  LOOP
    UPDATE orders SET total = qty WHERE id IN (SELECT id FROM orders WHERE total IS NULL LIMIT 1000);
    EXIT WHEN NOT FOUND;
  END LOOP;
END $$;
