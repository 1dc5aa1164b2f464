"""Hazards of family G: rows."""

from collections.abc import Iterator

from lockgate.policy.hazard import WARNING, Hazard
from lockgate.policy.registry import rule
from lockgate.policy.subject import Hit, Subject
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.words import LockMode

_SETUP = "CREATE TABLE orders (id bigint PRIMARY KEY, qty integer);"


@rule(
    Hazard(
        id="dml-no-where",
        name="Every row changed at once",
        detects="UPDATE or DELETE without WHERE on a table that an earlier file created, also inside WITH, and such a branch of a MERGE whose join names no column.",
        effect="One long transaction writes every row: bloat, replica lag, and row locks until it ends.",
        lock="RowExclusiveLock",
        by_size=True,
        workaround="A move, or batches by key.",
        destructive=True,
        source="Field practice with backfills",
        setup=_SETUP,
        bad="UPDATE orders SET qty = 0;",
        good="UPDATE orders SET qty = 0 WHERE id BETWEEN 1 AND 1000;",
    ),
    on=w.Dml,
)
def no_where(subject: Subject) -> Iterator[Hit]:
    """UPDATE and DELETE of everything."""
    word = subject.statement
    assert isinstance(word, w.Dml)
    for change in word.changes:
        key = subject.schema.resolve(change.target)
        if change.where or subject.is_new(key):
            continue
        inside = "" if word.kind == change.event else f" inside {word.kind.upper()}"
        yield Hit(
            f"{change.event.upper()}{inside} changes every row of {key} in one transaction",
            "lockgate move: batches by key, resumable and throttled",
            key,
        )


@rule(
    Hazard(
        id="dml-backfill-under-ddl-lock",
        name="Rows written while a table is locked",
        detects="INSERT, UPDATE, DELETE or COPY after a statement of the same transaction that blocks reads or writes.",
        effect="The lock is held until the last row is written.",
        lock="ShareLock or stronger, for the whole time",
        by_size=True,
        workaround="Two files: the schema change in one, the rows in the next or in a move.",
        source="Field practice with backfills",
        setup=_SETUP,
        bad="ALTER TABLE orders ADD COLUMN total numeric;\nUPDATE orders SET total = qty WHERE id > 0;",
        good="ALTER TABLE orders ADD COLUMN total numeric;",
    ),
    on=w.Dml,
)
def backfill_under_lock(subject: Subject) -> Iterator[Hit]:
    """DML that finds a strong lock of this file still held."""
    word = subject.statement
    assert isinstance(word, w.Dml)
    if word.target is None or not subject.file.transactional or subject.new:
        return
    for judged in subject.earlier():
        held = [
            key
            for key, mode in judged.facts.locks.items()
            if mode >= LockMode.ShareLock and not subject.is_new(key)
        ]
        if held:
            mode = max(judged.facts.locks[key] for key in held)
            yield Hit(
                f"{mode.name} on {', '.join(held)}, taken in line {judged.line}, is held until these rows are written",
                "Put the rows into a file of their own, or into a move.",
                held[0],
            )
            return


@rule(
    Hazard(
        id="dml-mixed-with-ddl",
        name="Rows and schema in one file",
        detects="INSERT, UPDATE or DELETE on an existing table in a file that also changes the schema.",
        effect="Either half fails with the other, and neither can be retried alone.",
        severity=WARNING,
        workaround="Two files.",
        source="Field practice with backfills",
        setup=_SETUP,
        bad="CREATE TABLE notes (id bigint PRIMARY KEY);\nDELETE FROM orders WHERE id < 10;",
        good="DELETE FROM orders WHERE id < 10;",
    ),
    on=w.Dml,
)
def mixed(subject: Subject) -> Iterator[Hit]:
    """DML after DDL of the same file."""
    word = subject.statement
    assert isinstance(word, w.Dml)
    if word.target is None or subject.new or word.kind not in ("insert", "update", "delete", "merge"):
        return
    if any(
        not isinstance(judged.statement, w.Dml | w.SetVariable | w.Comment) for judged in subject.earlier()
    ):
        yield Hit(
            f"rows of {subject.key} change in a file that also changes the schema", relation=subject.key
        )
