"""Moves whose target is an index: the same stages, ledger and outbox as between two tables, and the swap of an index at the end.

What is its own, in short (docs/moves-into-indexes.md tells it in full):

* The source's table goes on being written to. What turns at the cutover is the alias, so no writer waits for it.
* Every operation is carried into the generation that is being filled and into the one that serves: the way back is open
  because the old generation never fell behind.
* The revisions that guard a record stand in the project's database, in the transaction that also writes the record where
  the index is in that database.
"""
