"""Rows that the target did not take: try them again once the cause is mended."""

from lockgate.moves import in_place
from lockgate.moves.gates import refuse_paused
from lockgate.moves.opened import Opened
from lockgate.postgres.moves.batch import Poisoned
from lockgate.postgres.moves.in_place import fill_key
from lockgate.postgres.moves.made import forget_refused


def retry(move: Opened) -> int:
    """Put every quarantined key back into its outbox, in one transaction a side; returns how many. Raises ``MOVE_PAUSED``."""
    row = move.row()
    refuse_paused(move.home, row)
    if move.declared.in_place:
        return _retry_in_place(move)
    made = move.layout(row)
    count = 0
    for mapping, link in ((made.forward, move.home), (made.reverse, move.far)):
        if mapping is None:
            continue
        forget_refused(link, mapping)
        names = ", ".join(mapping.batch_columns)
        values = ", ".join(f"${i + 1}::text::{k.type}" for i, k in enumerate(mapping.key))
        rows = move.home.rows(
            "SELECT key FROM lockgate.move_quarantine WHERE move = $1 AND feed = $2", move.name, mapping.feed
        )
        for (key,) in rows:
            link.run(f"INSERT INTO {mapping.outbox} (op, {names}) VALUES ('U', {values})", *key)
            move.home.run(
                "DELETE FROM lockgate.move_quarantine WHERE move = $1 AND feed = $2 AND key = $3::text[]",
                move.name,
                mapping.feed,
                list(key),
            )
            count += 1
    return count


def _retry_in_place(move: Opened) -> int:
    sides = in_place.open_sides(move, *move.relations(move.row()))
    count = 0
    for (key,) in move.home.rows("SELECT key FROM lockgate.move_quarantine WHERE move = $1", move.name):
        try:
            fill_key(sides, move.home, tuple(key))
        except Poisoned:
            continue  # it stays where it is, with its reason
        move.home.run(
            "DELETE FROM lockgate.move_quarantine WHERE move = $1 AND key = $2::text[]", move.name, list(key)
        )
        count += 1
    return count
