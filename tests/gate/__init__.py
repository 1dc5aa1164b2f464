"""The gate: its verdict, its commands, its middleware."""
