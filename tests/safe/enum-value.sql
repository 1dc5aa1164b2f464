-- A new label locks no table.
ALTER TYPE order_state ADD VALUE IF NOT EXISTS 'sent' AFTER 'paid';
