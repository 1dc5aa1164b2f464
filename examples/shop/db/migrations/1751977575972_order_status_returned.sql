-- lockgate: phase=expand lock_timeout=2s statement_timeout=30s
-- Returns get a status of their own. In a file of its own, because a new value cannot be
-- used before it is committed. It stays: PostgreSQL cannot take a value out of an enum.

ALTER TYPE shop.order_status ADD VALUE 'returned' AFTER 'delivered';
