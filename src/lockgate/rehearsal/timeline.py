"""Which relation is locked how strongly and how long: bars over time, as plain values. Pure.

Relations that a file itself makes are left out while it runs: nobody else knows them yet.
"""

from collections.abc import Iterable

import msgspec

from lockgate.postgres.tree.words import LockMode
from lockgate.rehearsal.trace import MigrationTrace


class Bar(msgspec.Struct, frozen=True):
    """A lock on ``relation`` from ``start`` to ``end`` (seconds since the first statement), taken by a statement."""

    relation: str
    mode: str
    start: float
    end: float
    revision: str
    line: int


class Timeline(msgspec.Struct, frozen=True):
    """All bars, the relations in the order in which they are first locked, the length in seconds, and (name, start) of each file."""

    bars: tuple[Bar, ...]
    relations: tuple[str, ...]
    seconds: float
    files: tuple[tuple[str, float], ...] = ()


def timeline_of(traces: Iterable[MigrationTrace], least: float = 0.0) -> Timeline:
    """The bars of these files, one after another. A lock lasts to the end of its transaction; one of a statement that ran
    alone to the end of that statement. ``least`` seconds a statement at least has, so that the shortest one can be seen."""
    bars: list[Bar] = []
    files: list[tuple[str, float]] = []
    now = 0.0
    for migration in traces:
        spans = []
        start = now
        if migration.statements:
            files.append((f"{migration.revision}_{migration.name}", now))
        for statement in migration.statements:
            end = start + max(statement.seconds, least)
            spans.append((statement, start, end))
            start = end
        for statement, begin, end in spans:
            alone = statement.evidence.how.startswith("sampled")
            for relation, mode in statement.waited_for.items():
                bars.append(
                    Bar(relation, mode, begin, end if alone else start, migration.revision, statement.line)
                )
        now = start
    relations = tuple(dict.fromkeys(bar.relation for bar in sorted(bars, key=lambda bar: bar.start)))
    # The strongest is drawn last: a weaker lock on the same relation must not hide it.
    return Timeline(tuple(sorted(bars, key=lambda bar: LockMode[bar.mode])), relations, now, tuple(files))
