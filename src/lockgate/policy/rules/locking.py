"""Hazards of family H: what one transaction holds, and in which order."""

from collections.abc import Iterator

from lockgate.policy.hazard import INFO, WARNING, Hazard
from lockgate.policy.judging import Tree
from lockgate.policy.model.schema import Schema
from lockgate.policy.registry import rule
from lockgate.policy.subject import File, Hit, Judged, Subject
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.words import LockMode

_SETUP = "CREATE TABLE customers (id bigint PRIMARY KEY);\nCREATE TABLE orders (id bigint PRIMARY KEY, qty integer);"
_ADD = "ALTER TABLE {} ADD COLUMN note text;"
_TWO = f"{_ADD.format('orders')}\n{_ADD.format('customers')}"
_TURNED = f"{_ADD.format('customers')}\n{_ADD.format('orders')}"


def _tables(judged: Judged, schema: Schema, file: int, least: LockMode) -> list[str]:
    """The tables of older files that a statement locks with ``least`` or more; a partition counts as its root."""
    found: list[str] = []
    for key, mode in judged.facts.locks.items():
        if mode < least or key in schema.indexes:
            continue
        state = schema.relations.get(key)
        # What the file itself dropped is gone from the model, and nobody waits for it.
        if state is None and key not in judged.facts.unknown:
            continue
        if state is not None and (state.created_file == file or state.kind not in "rpf"):
            continue
        above = schema.ancestors(key)
        root = above[-1] if above else key
        if root not in found:
            found.append(root)
    return found


def _work(judged: Judged, schema: Schema) -> list[str]:
    """The tables that a statement reads or writes from end to end."""
    facts, found = judged.facts, []
    for key in (*facts.scans, *facts.rewrites):
        index = schema.indexes.get(key)
        table = index.table if index is not None else key
        if table not in found:
            found.append(table)
    if isinstance(judged.statement, w.CreateTableAs) and judged.statement.with_data:
        found += [key for key in facts.locks if key not in found and key not in schema.indexes]
    return found


@rule(
    Hazard(
        id="tx-lock-then-more",
        name="Long work while another table is locked",
        detects="A statement that reads or writes a table from end to end after one that locked another table exclusively.",
        effect="All access to the first table waits until the work on the second is done.",
        lock="AccessExclusiveLock, for the whole time",
        severity=WARNING,
        workaround="Two files: the quick lock in one, the long work in the other.",
        source="Field practice with locks and sessions",
        setup=_SETUP + "\nALTER TABLE customers ADD CONSTRAINT positive CHECK (id > 0) NOT VALID;",
        bad=f"{_ADD.format('orders')}\nALTER TABLE customers VALIDATE CONSTRAINT positive;",
        good="ALTER TABLE customers VALIDATE CONSTRAINT positive;",
    )
)
def lock_then_more(subject: Subject) -> Iterator[Hit]:
    """What is held, against what is worked on."""
    if not subject.file.judged or not subject.file.transactional or isinstance(subject.statement, w.Dml):
        return
    if not (subject.facts.scans or subject.facts.rewrites or isinstance(subject.statement, w.CreateTableAs)):
        return
    busy = _work(Judged(subject.statement, subject.facts, subject.line), subject.schema)
    busy = [key for key in busy if not subject.is_new(key) and not subject.small(key)]
    if not busy:
        return
    for judged in subject.earlier():
        held = _tables(judged, subject.schema, subject.file.number, LockMode.AccessExclusiveLock)
        held = [key for key in held if key not in busy]
        if held:
            yield Hit(
                f"{', '.join(held)}, locked in line {judged.line}, cannot be used until {', '.join(busy)} is done",
                "Put this statement into a file of its own.",
                held[0],
            )
            return


@rule(
    Hazard(
        id="tx-multi-table-lock",
        name="Several tables locked in one transaction",
        detects="Statements of one transactional file that lock different tables exclusively.",
        effect="The first stays locked while the second is waited for; who uses them in the other order deadlocks with the file.",
        lock="AccessExclusiveLock on each",
        severity=WARNING,
        workaround="One table a file.",
        source="Field practice with locks and sessions",
        setup=_SETUP,
        bad=_TWO,
        good=f"{_ADD.format('orders')}\nALTER TABLE orders ADD COLUMN size integer;",
    )
)
def multi_table(subject: Subject) -> Iterator[Hit]:
    """Told once, at the first statement that locks one more."""
    file, schema = subject.file, subject.schema
    if not file.judged or not file.transactional:
        return
    least = LockMode.AccessExclusiveLock
    now = _tables(Judged(subject.statement, subject.facts, subject.line), schema, file.number, least)
    if not now:
        return
    held: list[str] = []
    for judged in subject.earlier():
        held += [key for key in _tables(judged, schema, file.number, least) if key not in held]
    more = [key for key in now if key not in held]
    if more and len(held) == 1:
        yield Hit(
            f"{', '.join(held)} stays locked while the lock on {', '.join(more)} is waited for",
            f"Put the statements on {', '.join(more)} into a file of their own.",
            more[0],
        )


@rule(
    Hazard(
        id="tx-lock-order",
        name="Tables locked in another order than before",
        detects="Two files that lock the same two tables in opposite orders.",
        effect="The application can follow one of the two orders at most: with the other it deadlocks.",
        lock="ShareRowExclusiveLock or stronger",
        severity=INFO,
        workaround="The same order in every file, or one table a file.",
        source="Field practice with locks and sessions",
        setup=_SETUP,
        bad=f"{_TWO}\n-- next file\n{_TURNED.replace('note', 'size')}",
        good=f"{_TWO}\n-- next file\n{_TWO.replace('note', 'size')}",
    ),
    scope="tree",
)
def lock_order(tree: Tree) -> Iterator[tuple[File, Hit]]:
    """Pairs of tables, first come first."""
    pairs: dict[tuple[str, str], File] = {}
    for file in tree.files:
        if not file.transactional or len(file.judged) < 2:
            continue
        order: dict[str, int] = {}
        told = False
        for judged in file.judged:
            for key in _tables(judged, tree.schema, file.number, LockMode.ShareRowExclusiveLock):
                if key in order or len(order) > 20:
                    continue
                for before, line in order.items():
                    # Tables that one statement locks have no order of their own.
                    if line == judged.line:
                        continue
                    other = pairs.get((key, before))
                    if other is not None and other is not file and not told:
                        told = True
                        yield (
                            file,
                            Hit(
                                f"{before} is locked before {key} here, and after it in {other.name}",
                                line=judged.line,
                            ),
                        )
                    pairs.setdefault((before, key), file)
                order[key] = judged.line


@rule(
    Hazard(
        id="tx-wide-window",
        name="One table changed in two places",
        detects="ALTER TABLE of a table, then statements on others, then ALTER TABLE of the first again.",
        effect="The lock of the first is held for the work of the others.",
        lock="AccessExclusiveLock",
        severity=INFO,
        workaround="One ALTER TABLE with all its changes.",
        source="Field practice with locks and sessions",
        setup=_SETUP,
        bad=f"{_ADD.format('orders')}\nCOMMENT ON TABLE customers IS 'who buys';\nALTER TABLE orders ADD COLUMN size integer;",
        good="ALTER TABLE orders ADD COLUMN note text, ADD COLUMN size integer;\nCOMMENT ON TABLE customers IS 'who buys';",
    ),
    on=w.AlterTable,
)
def wide_window(subject: Subject) -> Iterator[Hit]:
    """Something else stands between."""
    if not subject.file.transactional or subject.table is None or subject.new:
        return
    if subject.facts.locks.get(subject.key) != LockMode.AccessExclusiveLock:
        return
    first, between = 0, False
    for judged in subject.earlier():
        same = judged.facts.locks.get(subject.key) == LockMode.AccessExclusiveLock
        if same and isinstance(judged.statement, w.AlterTable):
            first, between = (first or judged.line), False
        elif first and judged.facts.locks and not same:
            between = True
    if first and between:
        yield Hit(
            f"{subject.key} is locked since line {first}",
            f"ALTER TABLE {subject.sql} …, …;",
            subject.key,
        )


@rule(
    Hazard(
        id="tx-lock-budget",
        name="Too much work under locks in one file",
        detects="Statements of one transactional file that together go through more than the budget while writers wait; sizes are those of the snapshot.",
        effect="Each alone might pass, but the locks of all are held until the last is done.",
        lock="ShareLock or stronger",
        workaround="A file each.",
        by_target=True,
        source="Field practice with locks and sessions",
        setup=_SETUP,
        bad="CREATE INDEX orders_qty ON orders (qty);\nALTER TABLE customers ADD CHECK (id > 0);",
        good="ALTER TABLE customers ADD CHECK (id > 0);",
        sizes={"customers": (900_000, 700_000_000), "orders": (900_000, 800_000_000)},
    ),
    scope="file",
)
def lock_budget(tree: Tree) -> Iterator[Hit]:
    """Bytes read or written under a lock that stops writers."""
    (file,) = tree.files
    total, steps, line = 0, 0, 0
    for judged in file.judged if file.transactional else ():
        for key in _work(judged, tree.schema):
            state = tree.schema.relations.get(key)
            if state is None or state.bytes <= 0 or state.created_file == file.number:
                continue
            if judged.facts.locks.get(key, 0) >= LockMode.ShareLock:
                total, steps, line = total + state.bytes, steps + 1, judged.line
    if steps > 1 and total > tree.options.big_bytes:
        yield Hit(
            f"this file goes through {total / 1e9:.1f} GB under its locks; {tree.options.big_bytes / 1e9:.1f} GB is "
            "the budget",
            "Put each of these statements into a file of its own.",
            line=line,
        )
