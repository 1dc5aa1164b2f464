"""References of the table that is moved: those that are declared, and the foreign keys of the source that the new table does not have.

What the new side's server enforces itself it refuses row by row, into quarantine. These here nothing enforces: each batch
tells what dangles, and the proof, the switch and the end are refused while anything does.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from lockgate.errors import LockgateError
from lockgate.moves.declaration import Declaration, Reference
from lockgate.moves.layout import Problem
from lockgate.moves.opened import Opened
from lockgate.postgres.moves import dangling, ledger
from lockgate.postgres.moves.dangling import Dangling, ForeignKey
from lockgate.postgres.moves.mapping import Mapping
from lockgate.postgres.quoting import qualified
from lockgate.postgres.relation import Relation, find
from lockgate.postgres.sqlstate import ServerError

LOOKS = 5
"""So often a row that dangles is looked at: what it points at, or its own end, may be on its way."""


class Found(NamedTuple):
    """References that are checked, and those that cannot be."""

    checked: tuple[dangling.Reference, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


def derived(
    declared: Declaration, source: Relation, target: Relation, keys: tuple[ForeignKey, ...], enforced: tuple[ForeignKey, ...],
) -> list[ForeignKey]:  # fmt: skip
    """The foreign keys of the source that hold for the target too and that nothing enforces there. Pure."""
    names = {c.name for c in target.columns}
    there = {frozenset(zip(k.columns, k.key, strict=True)) for k in enforced}
    chosen = {frozenset(r.columns) for r in declared.references}
    return [
        k for k in keys
        if set(k.columns) <= names and not set(k.columns) & set(declared.columns)
        and frozenset(zip(k.columns, k.key, strict=True)) not in there and frozenset(k.columns) not in chosen
        and (k.oid != source.oid or set(k.key) <= names)
    ]  # fmt: skip


def references(move: Opened, source: Relation, target: Relation) -> Found:
    """What has to be found where, for rows of ``target``. An oid of 0 stands for a table that is still to be made."""
    declared = move.declared
    checked: list[dangling.Reference] = []
    problems: list[Problem] = []
    notes: list[str] = []
    for one in declared.references:
        checked += _declared(move, one, source, target, problems)
    enforced = dangling.foreign_keys(move.far, target.oid) if target.oid else ()
    for key in derived(declared, source, target, dangling.foreign_keys(move.home, source.oid), enforced):
        if key.oid == source.oid:
            checked.append(dangling.Reference(key.columns, target.sql, key.key, True))
            continue
        table = qualified(key.schema, key.table)
        if move.far is not move.home and not move.far.value("SELECT pg_catalog.to_regclass($1) IS NOT NULL", table):  # fmt: skip
            notes.append(f"{key.name} of {source.name} is not checked: there is no {key.schema}.{key.table} beside the target")  # fmt: skip
            continue
        checked.append(dangling.Reference(key.columns, table, key.key))
    return Found(tuple(checked), tuple(problems), tuple(notes))


def _declared(
    move: Opened, one: Reference, source: Relation, target: Relation, problems: list[Problem]
) -> list[dangling.Reference]:
    names = {c.name for c in target.columns}
    missing = [c for c in one.columns if c not in names]
    move.unpin()
    try:
        table = find(move.far, one.table)
    except LockgateError as error:
        problems.append(Problem(f"references.table: {error.message}", "Name it with its schema; it must stand in the target's database."))  # fmt: skip
        return []
    finally:
        move.pin()
    key = one.key or table.primary_key
    missing += [k for k in key if k not in {c.name for c in table.columns}]
    if missing or len(key) != len(one.columns):
        what = f"there is no column {', '.join(missing)}" if missing else f"{len(one.columns)} columns cannot point at ({', '.join(key)})"  # fmt: skip
        problems.append(Problem(f"references to {one.table}: {what}", 'Give columns of the target and key = ["..."] of the other table, in one order.'))  # fmt: skip
        return []
    # The source's name means the table at the end of the move: rows that point at each other move together.
    own = table.oid == target.oid or (move.far is move.home and table.oid == source.oid)
    return [dangling.Reference(one.columns, target.sql if own else table.sql, key, own)]


def unanswerable(move: Opened, found: Found, mapping: Mapping, target: Relation) -> list[Problem]:
    """Where the server cannot ask for a reference, such as types that have no equality."""
    problems = []
    for reference in found.checked:
        try:
            move.far.rows("EXPLAIN " + dangling.look_sql(reference, mapping.key, target.sql))
        except ServerError as error:
            problems.append(Problem(f"references {reference}: {error.message}", "Both sides of a reference have one type, and the role may read the other table."))  # fmt: skip
    return problems


def of_batches(found: Found, mapping: Mapping) -> tuple[dangling.Reference, ...]:
    """Those that hold for the rows of a single batch of ``mapping``."""
    written = {v.destination for v in mapping.values}
    return tuple(r for r in found.checked if not r.own and set(r.columns) <= written)


def tell(move: Opened, number: int, found: tuple[Dangling, ...]) -> None:
    """Write down what dangles in a batch: among the events, and as the error that ``backfill_jobs`` shows."""
    if not found:
        return
    ledger.event(move.home, move.name, "dangling", _words(found), {"range": number, "dangling": [d._asdict() for d in found]})  # fmt: skip
    move.home.run("UPDATE lockgate.move_range SET message = $3 WHERE move = $1 AND number = $2", move.name, number, _words(found))  # fmt: skip


def _words(found: tuple[Dangling, ...]) -> str:
    return "; ".join(f"{d.rows} rows dangle by {d.reference}, the first ({', '.join(d.keys[0])})" for d in found)  # fmt: skip


def refuse_dangling(
    move: Opened, source: Relation, target: Relation, mapping: Mapping, drain: Callable[[], object], sleep: Callable[[float], None] = time.sleep,
) -> int:  # fmt: skip
    """Raise ``MOVE_DANGLING`` while rows of ``target`` point at nothing, also once what waits has been applied; how many references were checked.

    With ``accept = ["references"]`` it is written down and goes on.
    """
    checked = references(move, source, target).checked
    found: tuple[Dangling, ...] = ()
    for look in range(LOOKS if checked else 0):
        if look:
            drain()
            sleep(0.05 * look)
        found = dangling.look(move.far, checked, mapping.key, target.sql)
        if not found:
            break
    if found:
        details = [msgspec.to_builtins(d._asdict()) for d in found]
        ledger.event(move.home, move.name, "dangling", _words(found), {"dangling": details})
        if "references" not in move.declared.accept:
            raise LockgateError(f"rows of the target of the move {move.name} point at nothing: {_words(found)}", "MOVE_DANGLING", details={"dangling": details})  # fmt: skip
    return len(checked)
