"""Before a move into an index begins: may its generation be made where it is to be, and is there none of its name? As far as the store's client tells."""

import os
from pathlib import Path

from lockgate.indexes.declared import next_number
from lockgate.indexes.moving.opened import OpenedIndex
from lockgate.indexes.register import every_name
from lockgate.moves.dual.needs import Needs
from lockgate.moves.stages import OVER
from lockgate.postgres.moves import ledger
from lockgate.stores.needs import schema_lacks
from lockgate.stores.open_search import IN_DATABASE
from lockgate.stores.pgsearch import SCHEMA
from lockgate.stores.searching import LiveStore, physical_name


def of_index(move: OpenedIndex, store: LiveStore) -> Needs:
    """What stands in the way in the store of the new generation, and what nobody can tell."""
    found = Needs([], [])
    i = move.declared.index
    if i.store in IN_DATABASE:
        role = move.home.value("SELECT current_user")
        found.problems.extend(schema_lacks(move.home, SCHEMA, role))
    elif "://" in i.place:
        found.notes.append(f"what the key of {i.store} may do, and how many connections it may have, is not known before it writes: no client asks that")  # fmt: skip
    else:
        found.problems.extend(_of_folder(Path(move.declared.root) / i.place))
    before = ledger.read_if_there(move.home, move.name)
    if before is not None and before.stage not in OVER:
        return found
    physical = physical_name(i.name, _next(move))
    if physical in store.physical(i.name) and (rows := store.count(physical)):
        found.problems.append((
            f"{physical}, the generation that would be made, is in {i.store} already and holds {rows} records that no ledger here knows",
            f"Look whose they are; where they are nobody's, take {physical} away in {i.store}.",
        ))  # fmt: skip
    return found


def _next(move: OpenedIndex) -> str:
    if not move.home.value("SELECT pg_catalog.to_regclass('lockgate.index_generation') IS NOT NULL"):
        return next_number(())
    return next_number(every_name(move.home, move.declared.index.name))


def _of_folder(place: Path) -> list[tuple[str, str]]:
    """Whether the folder or file can be written, or made where it is not there yet."""
    there = place
    while not there.exists():
        there = there.parent
    if os.access(there, os.W_OK):
        return []
    return [
        (f"{there} cannot be written, and the index lives in {place}", "Give it to the account of the move.")
    ]
