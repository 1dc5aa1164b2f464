-- lockgate: transaction=off
DO $$
BEGIN
  LOOP
    UPDATE orders SET total = qty WHERE id IN (SELECT id FROM orders WHERE total IS NULL ORDER BY id LIMIT 1000);
    COMMIT;
    EXIT WHEN NOT FOUND;
  END LOOP;
END $$;
