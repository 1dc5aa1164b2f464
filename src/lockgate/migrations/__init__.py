"""Files → ledger → plan → run → history."""
