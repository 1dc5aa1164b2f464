"""What a change costs at production size: two measurements and the line through them, with an honest band. Pure."""

import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from lockgate.postgres.tree.words import LockMode
from lockgate.rehearsal.trace import MigrationTrace, StatementTrace

BAND = "four times in five the true figure lies within low and high, if production's server is like this one"
_JITTER = 0.004
"""Seconds by which a short statement differs from itself."""
_SORTS = ("CREATE INDEX", "REINDEX", "CLUSTER")
"""Kinds that sort: they grow a little faster than the rows."""


class Range(msgspec.Struct, frozen=True):
    """An estimate with its error band."""

    low: float
    expected: float
    high: float

    def __add__(self, other: "Range") -> "Range":
        return Range(self.low + other.low, self.expected + other.expected, self.high + other.high)


NOTHING = Range(0.0, 0.0, 0.0)


class Measured(msgspec.Struct, frozen=True, rename="camel"):
    """One statement at one scale."""

    rows: int
    seconds: float
    wal_bytes: int
    disk_bytes: int


class Estimate(msgspec.Struct, frozen=True):
    """What the file itself says, and whether that holds."""

    seconds: float | None
    rows: float | None
    answer: str


class StatementImpact(msgspec.Struct, frozen=True, rename="camel"):
    """One statement whose cost depends on rows."""

    revision: str
    line: int
    kind: str
    relations: tuple[str, ...]
    production_rows: int
    measured: tuple[Measured, ...]
    seconds: Range
    lock_seconds: Range
    wal_bytes: Range
    disk_bytes: Range
    estimate: Estimate | None = None


class Total(msgspec.Struct, frozen=True, rename="camel"):
    """All of them together."""

    seconds: Range
    lock_seconds: Range
    wal_bytes: Range
    disk_bytes: Range


class Impact(msgspec.Struct, frozen=True, rename="camel"):
    """The whole change at production size."""

    taken_at: str
    scales: tuple[int, ...]
    band: str
    statements: tuple[StatementImpact, ...]
    total: Total


class Scale(msgspec.Struct, frozen=True):
    """What was measured at one scale: the traces, and how many rows each table had before the first file."""

    most: int
    rows: Mapping[str, int]
    traces: tuple[MigrationTrace, ...]


def impact_of(
    scales: Sequence[Scale],
    production: Mapping[str, int],
    estimates: Mapping[str, tuple[float | None, float | None]],
    taken_at: str,
) -> Impact:
    """The impact of the traced files. ``production`` maps each table to its rows there, ``estimates`` each revision to what
    its file says: (rows, seconds). Statements whose relations the snapshot does not know are left out."""
    found: list[StatementImpact] = []
    largest = scales[-1]
    for migration in largest.traces:
        shut = False
        for number, statement in enumerate(migration.statements):
            shut = shut or LockMode.AccessExclusiveLock.name in statement.waited_for.values()
            one = _statement(scales, migration.revision, number, statement, production, shut=shut)
            if one is not None:
                found.append(one)
    checked = tuple(_checked(one, found, estimates.get(one.revision)) for one in found)
    total = Total(NOTHING, NOTHING, NOTHING, NOTHING)
    for one in checked:
        total = Total(
            total.seconds + one.seconds, total.lock_seconds + one.lock_seconds,
            total.wal_bytes + one.wal_bytes, total.disk_bytes + one.disk_bytes,
        )  # fmt: skip
    return Impact(taken_at, tuple(s.most for s in scales), BAND, checked, total)


def _statement(
    scales: Sequence[Scale],
    revision: str,
    number: int,
    statement: StatementTrace,
    production: Mapping[str, int],
    *,
    shut: bool,
) -> StatementImpact | None:
    touched = {*statement.locks, *statement.rewrites, *statement.scans}
    relations = tuple(
        sorted(name for name in touched if name in production and any(name in s.rows for s in scales))
    )
    if not relations:
        return None
    measured = []
    for scale in scales:
        traced = next((m for m in scale.traces if m.revision == revision), None)
        if traced is None or number >= len(traced.statements):
            return None
        s = traced.statements[number]
        rows = sum(scale.rows.get(name, 0) for name in relations)
        measured.append(Measured(rows, s.seconds, s.evidence.wal_bytes, s.evidence.bytes_created))
    wanted = sum(production[name] for name in relations)
    sorts = statement.kind in _SORTS
    grows = bool(statement.scans or statement.rewrites) or sorts or not statement.kind.startswith(("ALTER", "COMMENT", "CREATE"))  # fmt: skip
    seconds = duration([(m.rows, m.seconds) for m in measured], wanted, sorts=sorts, grows=grows)
    return StatementImpact(
        revision, statement.line, statement.kind, relations, wanted, tuple(measured), seconds,
        seconds if shut else NOTHING,
        volume([(m.rows, m.wal_bytes) for m in measured], wanted),
        volume([(m.rows, m.disk_bytes) for m in measured], wanted),
    )  # fmt: skip


def duration(
    points: Sequence[tuple[int, float]], rows: int, *, sorts: bool = False, grows: bool = True
) -> Range:
    """Seconds at ``rows`` from (rows, seconds) at two scales, smallest first.

    What reads or writes every row grows with them; ``sorts`` a little faster. What does not ``grow`` costs there what it
    costs here. The band widens with the distance and with how little of the larger measurement is more than jitter.
    """
    slope, start = _line(points)
    largest, seconds = points[-1]
    if not grows or rows <= largest or slope <= 0:
        at = seconds if not grows or slope <= 0 else start + slope * rows
        spread = 3.0 if not grows else 2.0
        far = max(1.0, rows / max(1, largest)) if grows and slope <= 0 else 1.0
        return Range(at / spread, at, at * spread * far + _JITTER)
    bend = math.log(max(rows, 3)) / math.log(max(largest, 3)) if sorts else 1.0
    at = start + slope * rows * bend
    distance = math.log10(rows / max(1, largest))
    doubt = min(1.0, _JITTER / max(seconds, 1e-6))
    spread = 1.6 + 0.4 * distance + 2.0 * doubt
    return Range(at / spread, at, at * spread + _JITTER)


def volume(points: Sequence[tuple[int, float]], rows: int) -> Range:
    """Bytes at ``rows``: volumes are even, so the band is narrower than that of a duration."""
    slope, start = _line(points)
    at = max(points[-1][1] if rows >= points[-1][0] else 0.0, start + slope * rows)
    return Range(at * 0.7, at, at * 1.4 + 16_384)


def _line(points: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Slope and start of the line through the first and the last point; the slope is never negative."""
    (n1, d1), (n2, d2) = points[0], points[-1]
    if n2 <= n1:
        return (d2 / n2 if n2 else 0.0), 0.0
    slope = max(0.0, (d2 - d1) / (n2 - n1))
    return slope, max(0.0, d2 - slope * n2)


def _checked(
    one: StatementImpact,
    all_of_them: Iterable[StatementImpact],
    said: tuple[float | None, float | None] | None,
) -> StatementImpact:
    """The statement with its file's estimate judged; the first one of a file carries it."""
    of_file = [other for other in all_of_them if other.revision == one.revision]
    if said is None or said == (None, None) or of_file[0] is not one:
        return one
    rows, seconds = said
    low = sum(other.seconds.low for other in of_file)
    most = max(other.production_rows for other in of_file)
    wrong = (seconds is not None and low > seconds) or (rows is not None and most > rows * 1.5)
    return msgspec.structs.replace(one, estimate=Estimate(seconds, rows, "fail" if wrong else "pass"))
