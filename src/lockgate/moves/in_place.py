"""Moves in place: old and new side stand beside each other until a contract migration takes the old one away.

The expand migrations of a recipe make the new side and the triggers that keep both in step; the move fills in the rows that
were there before, proves that both sides say the same, and thereby releases the files that wait for it (``after=move:``).
There is no switch: each release reads and writes its own side. The way back is the old release, until the contract file.
"""

from typing import NamedTuple

import msgspec

from lockgate.errors import LockgateError, Refused
from lockgate.moves.declaration import Declaration
from lockgate.moves.layout import Problem, key_of
from lockgate.moves.opened import Opened, Report
from lockgate.moves.reconcile import refuse_incomplete
from lockgate.moves.stages import Stage, why
from lockgate.postgres.moves import in_place, ledger
from lockgate.postgres.moves.in_place import Back, Compared, Sides
from lockgate.postgres.moves.ledger import MoveRow
from lockgate.postgres.moves.mapping import KeyPart, Mapping, Value
from lockgate.postgres.quoting import identifier
from lockgate.postgres.relation import Relation
from lockgate.record.words import counted

EXPAND = "Apply the expand files of the change first: lockgate up"


def sides(declared: Declaration, source: Relation, target: Relation) -> tuple[Sides | None, list[Problem]]:
    """Both sides of a move in place, or the problems that keep it from being one. Pure."""
    found: list[Problem] = []
    here, there = {c.name: c for c in source.columns}, {c.name: c for c in target.columns}
    one_table = source.oid == target.oid
    key = key_of(declared, source)
    if not key:
        found.append(
            Problem(
                f"{source.name} has no primary key",
                'Add one, or name unique NOT NULL columns: key = ["a", "b"]',
            )
        )
    missing = [k for k in key if k not in here or k not in there]
    if missing:
        found.append(
            Problem(
                f"the key column {missing[0]} is not on both sides", "The key has one name on both sides."
            )
        )
    if key and not missing and not any(set(u.columns) <= set(key) and u.not_null for u in source.uniques):
        found.append(
            Problem(
                f"{source.name} has no unique index on ({', '.join(key)}) whose columns are NOT NULL",
                "Create it: without it batches cannot be found.",
            )
        )
    for column in declared.columns:
        if column not in there:
            found.append(Problem(f"{target.name} has no column {column}", EXPAND))
        elif there[column].generated:
            found.append(
                Problem(
                    f"{target.name}.{column} is generated: the server fills it in itself",
                    f"Take {column} out of [columns].",
                )
            )
    for column in declared.reverse:
        if column not in here:
            found.append(
                Problem(
                    f"reverse.{column}: {source.name} has no such column", f"Its columns: {', '.join(here)}."
                )
            )
        elif here[column].generated:
            found.append(
                Problem(
                    f"reverse.{column}: {source.name}.{column} is generated: the trigger reads NULL there and cannot write it",
                    f"Drop the trigger that keeps it in step, and add a second generated column beside {column}.",
                )
            )
    if not one_table and not target.primary_key:
        found.append(
            Problem(
                f"{target.name} has no primary key", "Rows that are there could not be told from new ones."
            )
        )
    if found:
        return None, found
    names = [*key, *(c for c in declared.columns if c not in key)]
    values = tuple(
        Value(n, str(declared.columns.get(n, identifier(n))), there[n].type, there[n].portable) for n in names
    )
    same_order = all(here[k].type == there[k].type and here[k].collation == there[k].collation for k in key)
    mapping = Mapping(
        move=declared.name, feed="forward", origin=source.sql, destination=target.sql,
        key=tuple(KeyPart(k, k, here[k].type) for k in key), values=values, same_database=True, same_order=same_order,
    )  # fmt: skip
    back = tuple(Back(c, str(e), here[c].type) for c, e in declared.reverse.items())
    filled = tuple(c for c in declared.columns if c not in key)
    conflict = () if one_table else target.primary_key
    return Sides(mapping, one_table, filled, back if one_table else (), conflict, declared.not_null), []


def sync_problems(declared: Declaration, there: dict[str, str]) -> list[Problem]:
    """What of ``[sync]`` is missing or off. Pure."""
    found = []
    for name in declared.sync.triggers:
        if name not in there:
            found.append(Problem(f"there is no trigger {name} that keeps both sides in step", EXPAND))
        elif there[name] == "off":
            found.append(
                Problem(
                    f"the trigger {name} is switched off: writes since then are unknown",
                    f"ALTER TABLE ... ENABLE TRIGGER {name}; then lockgate move verify {declared.name} --repair",
                )
            )
    found += [
        Problem(f"there is no constraint {name} that keeps new NULLs out", EXPAND)
        for name in declared.sync.checks
        if name not in there
    ]
    return found


def open_sides(move: Opened, source: Relation, target: Relation) -> Sides:
    """The sides of a move under way; its session then has the search path that triggers and expressions have.

    Raises ``LockgateError`` (``MOVE_PAUSED``) when the tables changed so that there are none.
    """
    made, problems = sides(move.declared, source, target)
    move.unpin()
    if made is None:
        raise LockgateError(
            f"the tables of the move {move.name} changed: {problems[0].what}", "MOVE_PAUSED",
            details={"problems": [p._asdict() for p in problems]},
        )  # fmt: skip
    return made


def register(move: Opened, source: Relation, target: Relation, operator: str) -> None:
    """planned → dual_write: the triggers are there, so every writer since then wrote both sides."""
    name = move.name
    with move.home.transaction():
        for table, column in (("move", "name"), ("move_range", "move"), ("move_quarantine", "move")):
            move.home.run(f"DELETE FROM lockgate.{table} WHERE {column} = $1", name)
        ledger.insert(
            move.home,
            {
                "name": name, "stage": Stage.DUAL_WRITE, "declaration": msgspec.json.encode(msgspec.to_builtins(move.declared)).decode(), "declaration_hash": move.declared.hash,
                "source_oid": source.oid, "target_oid": target.oid, "same_database": True, "rows_estimate": source.rows, "operator": operator,
            },
        )  # fmt: skip
        seen = in_place.sync_of(
            move.home, [source.oid, target.oid], move.declared.sync.triggers, move.declared.sync.checks
        )
        ledger.event(
            move.home, name, "step", why(Stage.PLANNED, Stage.DUAL_WRITE),
            {"source": source.sql, "target": target.sql, "sync": seen, "declarationHash": move.declared.hash, "kind": move.declared.kind},
            before=Stage.PLANNED, after=Stage.DUAL_WRITE, operator=operator,
        )  # fmt: skip
        here, there = move.shapes(move.row())
        move.home.run(
            "UPDATE lockgate.move SET source_shape = $2, target_shape = $3 WHERE name = $1", name, here, there
        )


def look(move: Opened, row: MoveRow) -> Compared:
    """Compare both sides now. Raises ``MOVE_PAUSED`` when the triggers between them are gone or off."""
    source, target = move.relations(row)
    refuse_broken_sync(move, row)
    return in_place.compare(open_sides(move, source, target), move.home)


def refuse_broken_sync(move: Opened, row: MoveRow) -> None:
    """Raise ``MOVE_PAUSED`` when what keeps both sides in step is gone or off."""
    there = in_place.sync_of(
        move.home, [row.source_oid, row.target_oid], move.declared.sync.triggers, move.declared.sync.checks
    )
    for problem in sync_problems(move.declared, there):
        raise LockgateError(problem.what, "MOVE_PAUSED", next=problem.fix)


class Proved(NamedTuple):
    """Both sides as they were found equal, and how many rows a repair had to touch for it."""

    compared: Compared
    repaired: int


def reconcile(move: Opened, *, repair: bool, operator: str, report: Report = lambda _d, _p: None) -> Proved:
    """Step to ``reconciled`` when both sides say the same, and on to ``finished`` where there is no old side.

    Raises ``MOVE_DIVERGED``, after which the move is paused; ``repair`` first makes the new side what the old one gives.
    """
    row = move.row()
    move.refuse_other_declaration(row)
    if row.stage not in (Stage.BACKFILLING, Stage.RECONCILED):
        why(Stage(row.stage), Stage.RECONCILED, in_place=True)
    refuse_incomplete(move)
    found = look(move, row)
    repaired = 0
    if found.differing and repair:
        made = open_sides(move, *move.relations(row))
        all_of_them, before = found.differing, found.differing + 1
        while 0 < found.differing < before:  # each look lists some; a repair that changes nothing ends it
            before = found.differing
            for key, _kind in found.listed:
                in_place.fill_key(made, move.home, key, anew=True)
                repaired += 1
                report("filling in again", min(1.0, repaired / all_of_them))
            found = in_place.compare(made, move.home)
    evidence: dict[str, object] = {
        "rowsSource": found.rows_source, "rowsTarget": found.rows_target, "digestSource": found.digest_source, "digestTarget": found.digest_target,
        "differing": found.differing, "repaired": repaired, "listed": [{"key": list(k), "kind": kind} for k, kind in found.listed], "nulls": found.nulls,
    }  # fmt: skip
    told = in_place.told(found)
    if told:
        ledger.event(move.home, move.name, "divergence", told, evidence, operator=operator)
        if move.declared.gates.on_divergence == "pause":
            ledger.pause(move.home, move.name, told, evidence)
        raise LockgateError(f"the move {move.name}: {told}", "MOVE_DIVERGED", details=evidence)
    ledger.step(move.home, move.name, row.stage, Stage.RECONCILED, why(Stage(row.stage), Stage.RECONCILED, in_place=True), evidence, also="reconciled_at = clock_timestamp()", operator=operator)  # fmt: skip
    _seal(move)
    if not move.declared.sync.triggers:
        ledger.step(move.home, move.name, Stage.RECONCILED, Stage.FINISHED, why(Stage.RECONCILED, Stage.FINISHED, in_place=True), {}, also="finished_at = clock_timestamp()", operator=operator)  # fmt: skip
    return Proved(found, repaired)


def _seal(move: Opened) -> None:
    """What keeps both sides in step now is what the proof holds for; the gate of the contract file compares with it."""
    row = move.row()
    there = in_place.sync_of(
        move.home, [row.source_oid, row.target_oid], move.declared.sync.triggers, move.declared.sync.checks
    )
    ledger.event(move.home, move.name, "sealed", "what keeps both sides in step", {"sync": there})


def finish(move: Opened, row: MoveRow, operator: str) -> str:
    """reconciled → finished, once the contract file has taken the triggers away. `up` does it by itself."""
    there = in_place.sync_of(move.home, [row.source_oid, row.target_oid], move.declared.sync.triggers, ())
    if there:
        raise Refused(
            f"both sides of the move {move.name} are still kept in step by {', '.join(sorted(there))}", "MOVE_STAGE",
            next="lockgate promote the contract file and lockgate up, when no release needs the old side",
        )  # fmt: skip
    ledger.step(move.home, move.name, row.stage, Stage.FINISHED, why(Stage(row.stage), Stage.FINISHED, in_place=True), {}, also="finished_at = clock_timestamp()", operator=operator)  # fmt: skip
    return Stage.FINISHED


def steps(declared: Declaration, source: Relation) -> list[str]:
    """What a move in place does, in words."""
    what = ", ".join(declared.columns)
    last = (
        "the old side stays current until the contract file: the old release can serve again at any time before it"
        if declared.sync.triggers
        else "nothing is switched: the move is finished when no NULL is left"
    )
    return [
        f"see that {', '.join((*declared.sync.triggers, *declared.sync.checks))} {'keeps' if len(declared.sync.triggers) + len(declared.sync.checks) == 1 else 'keep'} both sides in step",
        f"fill in {what} in {counted(max(source.rows, 0), 'row')}, in batches of {declared.limits.batch_rows} by {declared.limits.workers} workers, each with count, digest and ledger row",
        "compare all rows of both sides exactly, in one snapshot",
        f"release the files that wait for it (after=move:{declared.name})",
        last,
    ]


def way_back(declared: Declaration) -> str:
    """The rollback document of a move in place."""
    if not declared.sync.triggers:
        return "This move only fills in NULLs. There is nothing to go back to: `lockgate move abort` stops it, and rows that are filled stay so.\n"
    return (
        f"1. Until the contract file is applied, both sides are kept in step by {', '.join(declared.sync.triggers)}: deploy the old release again, nothing else.\n"
        f"2. `lockgate move rollback {declared.name}` compares both sides once more and says so.\n"
        f"3. `lockgate move abort {declared.name}` holds the files that wait for the move.\n"
        "4. The contract file takes the old side away: after it there is no way back. `lockgate promote` is the point of no return.\n"
    )
