"""What a data move does inside PostgreSQL: capture, batches, relay, switch. Drawn from one ``Mapping`` a direction.

Why nothing is lost, in short (docs/moves.md tells it in full):

* Every write to the origin leaves its *key* in an outbox, in the writer's own transaction. Outboxes hold no images and are
  consumed by deleting, so the order in which transactions commit does not matter.
* The relay deletes keys and brings the destination to what the origin holds for them, seen by one snapshot: a key that was
  seen is either as the snapshot has it, or has another entry waiting.
* A backfill batch inserts only what is not there. It and the relay keep each other out with an advisory lock of the destination
  that the batch takes before it reads: a delete cannot slip between its reading and its inserting. No row is locked.
* A session advisory lock on the session that writes makes the relay the only one: when the session is gone, so is its work.
"""
