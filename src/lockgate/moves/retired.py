"""The old table behind the end of a move: it guards nothing any more, and holds nobody up."""

import time
from collections.abc import Callable

from lockgate.moves.opened import Opened
from lockgate.moves.shrinking import limits_of
from lockgate.postgres.moves import capture, ledger, switch
from lockgate.postgres.moves.ledger import MoveRow
from lockgate.postgres.quoting import identifier
from lockgate.postgres.sqlstate import ServerError

_KEYS = """
SELECT k.conname, pg_catalog.pg_get_constraintdef(k.oid), k.confrelid::bigint FROM pg_catalog.pg_constraint k
 WHERE k.contype = 'f' AND k.conrelid = $1::oid AND k.confrelid <> k.conrelid AND k.conparentid = 0 ORDER BY k.conname
"""


def release_keys(
    move: Opened, row: MoveRow, *, tell: switch.Tell = lambda _: None, operator: str = "", sleep: Callable[[float], None] = time.sleep
) -> list[str]:  # fmt: skip
    """Drop the foreign keys of the table that a finished move has renamed away: they would keep rows of the tables that they point at from going, for rows that nobody keeps current. Gives what was dropped.

    Only behind the end: inside the window the old side has to be able to serve again. A source in another database keeps its name and is a table
    of its schema still, so its keys are left to a migration. Can be called again; raises ``Busy`` (``MOVE_LOCK``) that names who holds the tables.
    """
    if not row.same_database or move.declared.in_place or not capture.owned(move.home, row.source_oid):
        return []
    patience = switch.Patience(limits_of(move), move.rng, tell, sleep=sleep)
    while keys := move.home.rows(_KEYS, row.source_oid):
        told = [f"{name} {definition}" for name, definition, _ in keys]
        drops = ", ".join(f"DROP CONSTRAINT {identifier(name)}" for name, *_ in keys)
        try:
            with move.home.transaction():
                move.home.run(f"SET LOCAL lock_timeout = '{move.declared.limits.lock_attempt_ms}ms'")
                move.home.run(f"ALTER TABLE {switch.relation_name(move.home, row.source_oid)} {drops}")
                ledger.event(move.home, move.name, "keys", "the foreign keys of the old table were dropped", {"foreignKeys": told}, operator=operator)  # fmt: skip
            return told
        except ServerError as error:
            if error.sqlstate not in ("55P03", "40P01"):
                raise
            patience.failed(switch.who_holds(move.home, [row.source_oid, *(oid for *_, oid in keys)], "ACCESS EXCLUSIVE"))  # fmt: skip
    return []
