-- A label of an enum is a constant like any other.
ALTER TABLE orders ADD COLUMN shipping order_state NOT NULL DEFAULT 'new';
