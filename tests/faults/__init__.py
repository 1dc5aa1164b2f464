"""Faults injected into ``lockgate up``, and what the database says afterwards. ``docs/reliability.md`` lists them all."""
