"""``moves/<name>.toml`` → a frozen value. Unknown keys are errors."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from lockgate.config import Settings
from lockgate.config.windows import parse_window
from lockgate.errors import ConfigError
from lockgate.moves import transforms
from lockgate.moves.transforms import Map, Transform, refuse_in_sql

DIRECTORY = "moves"
ACCEPTED = (
    "collation",
    "constraints",
    "defaults",
    "encoding",
    "indexes",
    "keys",
    "lossy",
    "partitions",
    "policies",
    "references",
    "rows",
    "triggers",
    "views",
)
COPY, IN_PLACE = "copy", "in-place"
KINDS = (COPY, IN_PLACE, "dual-write", "index")
"""Every kind of move; the last two have declarations of their own."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[source]``: the table that is moved, in the database of the call. ``replica_env`` names the variable with the URL of a standby that heavy reads go to."""

    table: str
    replica_env: str = ""


class TargetSide(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[target]``: where it goes. ``url_env`` names the variable with another database's URL; ``create`` makes the table."""

    table: str
    url_env: str = ""
    create: bool = False


class LimitsPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[limits]``: how hard the move may push. Times are in milliseconds or seconds, as the names say.

    ``replica_wait_seconds`` is how long a read waits for ``source.replica_env`` to be past the point that it needs. Beyond the ``max_`` values the backfill waits (0 switches WAL rate, archiver backlog in segments and commit latency off),
    and outside ``windows`` such as ``daily 22:00-05:00 Europe/Berlin`` too. ``max_slot_mb`` bounds what a slot, or the readers of a WAL of SQLite, hold back. What presses for ``max_wait_seconds`` ends the command, to be called again. With more than ``quarantine_rows`` refused rows the move is paused.
    """

    batch_rows: int = 10_000
    workers: int = 2
    relay_rows: int = 5_000
    lock_attempt_ms: int = 50
    lock_patience_seconds: int = 30
    block_ms: int = 2_000
    outbox_rows: int = 1_000
    max_connections_percent: int = 80
    max_replica_lag_seconds: int = 30
    replica_wait_seconds: int = 30
    max_lock_waiters: int = 5
    max_slot_mb: int = 1_024
    max_wal_mb_per_second: int = 0
    max_archive_backlog: int = 64
    max_commit_ms: int = 1_000
    max_wait_seconds: int = 3_600
    quarantine_rows: int = 1_000
    windows: tuple[str, ...] = ()


class Gates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[gates]``: what has to be shown before the cutover beyond equal digests, and ``cutover_windows`` in which it may be."""

    shadow_reads: int = 0
    cutover_windows: tuple[str, ...] = ()
    on_divergence: str = "pause"


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[[references]]``: columns of the target whose values must be found in ``key`` (its primary key, unless it is named) of ``table``, beside the target."""

    columns: tuple[str, ...]
    table: str
    key: tuple[str, ...] = ()


class Sync(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[sync]`` of a move in place: what the expand files made so that both releases may write while rows are filled in.

    ``triggers`` keep both sides in step; ``checks`` are constraints (proved or not) that keep new NULLs out.
    """

    triggers: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()


class Declaration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One move.

    ``kind`` is ``copy`` (rows go to another table, which then serves) or ``in-place`` (an expand migration put a column or
    table beside the old one and keeps both in step; the move fills in the rows that are there and proves it).
    ``accept`` names kinds of problems of the plan that are taken knowingly: they become notes.
    ``not_null`` names target columns that hold no NULL at the end of a move in place.

    ``columns`` gives target columns as SQL over the source's columns or by a Python function, ``reverse`` the way back; without them columns of
    one name are taken as they are. ``capture`` says how writes to the source are noticed on the way forward: ``triggers``, or ``log``,
    where the server allows it. ``rollback_hours`` is how long the way back stays open.
    """

    source: Source
    target: TargetSide
    name: str = ""
    kind: str = COPY
    sync: Sync = Sync()
    not_null: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    columns: Map = {}
    reverse: Map = {}
    switch: str = "rename"
    capture: str = "triggers"
    one_way: bool = False
    accept: tuple[str, ...] = ()
    blocking: bool = False
    rollback_hours: float = 72.0
    references: tuple[Reference, ...] = ()
    limits: LimitsPart = LimitsPart()
    gates: Gates = Gates()

    @property
    def hash(self) -> str:
        """SHA-256 over what the declaration says that must not change while the move runs: ``HOLDS``."""
        return digest(self, HOLDS, {"blocking": False})

    @property
    def two_databases(self) -> bool:
        """True when the target is in another database than the source."""
        return bool(self.target.url_env)

    @property
    def in_place(self) -> bool:
        """True when old and new stand in one database side by side, kept in step by triggers of an expand migration."""
        return self.kind == IN_PLACE


HOLDS = (
    "name", "kind", "source", "target", "key", "columns", "reverse", "sync", "not_null", "switch", "capture", "one_way", "accept",
)  # fmt: skip
"""What of a declaration must not change while its move runs, and so stands in its hash. Everything else may."""
SIDE = ("table", "url_env", "create")
"""What stands there of ``[source]`` and ``[target]``: where a side is, not from where it is read."""
_STANDING: Mapping[str, object] = {
    "limits": {
        "batch_rows": 10_000, "workers": 2, "relay_rows": 5_000, "lock_attempt_ms": 50, "lock_patience_seconds": 30, "block_ms": 2_000,
        "outbox_rows": 1_000, "max_connections_percent": 80, "max_replica_lag_seconds": 30, "max_lock_waiters": 5, "max_slot_mb": 1_024,
        "max_wal_mb_per_second": 0, "max_archive_backlog": 64, "max_commit_ms": 1_000, "quarantine_rows": 1_000, "windows": [],
    },
    "gates": {"shadow_reads": 0, "cutover_windows": [], "on_divergence": "pause"},
    "rollback_hours": 0.0,
}  # fmt: skip
"""Words that say nothing about a move: the first hashes held the defaults of what may change, and a move that was started with one has to know its file again. Nothing is ever added here."""


def digest(
    declared: msgspec.Struct, holds: tuple[str, ...], standing: Mapping[str, object], **parts: object
) -> str:
    """SHA-256 over the fields ``holds`` of a declaration, some of them said otherwise by ``parts``; ``standing`` is what its kind adds to ``_STANDING``.

    That dangling references are accepted is no part of it: what is checked may change while the move runs.
    """
    said = msgspec.to_builtins(declared)
    kept = {name: said[name] for name in holds}
    for side in ("source", "target"):
        kept[side] = {name: kept[side][name] for name in SIDE if name in kept[side]}
    if "accept" in kept:
        kept["accept"] = [kind for kind in kept["accept"] if kind != "references"]
    whole = {**_STANDING, **standing, **kept, **parts}
    return hashlib.sha256(msgspec.json.encode(whole, order="sorted")).hexdigest()


def window_problems(texts: tuple[str, ...]) -> list[str]:
    """What is wrong with windows such as ``daily 22:00-05:00 Europe/Berlin``."""
    found = []
    for text in texts:
        try:
            parse_window(text)
        except ConfigError as error:
            found.append(error.message)
    return found


def reference_problems(references: tuple[Reference, ...]) -> list[str]:
    """What is wrong with declared references."""
    return [
        f"references to {r.table or '?'}: name the columns, the table, and as many columns of its key"
        for r in references
        if not r.columns or not r.table or (r.key and len(r.key) != len(r.columns))
    ]


def read(settings: Settings, name: str) -> Declaration:
    """Read ``moves/<name>.toml``. Raises ``ConfigError`` (``MOVE_DECLARATION``) that names file and key."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is not a name for a move: a letter, then a-z, 0-9 and _, up to 40", "MOVE_DECLARATION"
        )
    file = settings.path(DIRECTORY) / f"{name}.toml"
    return parse(file, name)


def parse(file: Path, name: str) -> Declaration:
    """The declaration in ``file``."""
    import tomllib

    try:
        data = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no {file}", "MOVE_DECLARATION", next=f"Write {file}; docs/moves.md has an example.") from None  # fmt: skip
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {error}", "MOVE_DECLARATION") from None
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}", "MOVE_DECLARATION") from None
    if "name" in data:
        raise ConfigError(f"{file}: unknown key `name`: the file's name is the move's", "MOVE_DECLARATION")
    if data.get("kind", COPY) not in (COPY, IN_PLACE):
        # Asked first: what else stands there belongs to the kind that was meant.
        raise ConfigError(
            f"{file}: kind = {data['kind']!r} is none of {', '.join(KINDS)}", "MOVE_DECLARATION"
        )
    try:
        declared = msgspec.structs.replace(msgspec.convert(data, Declaration), name=name)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{file}: {error}", "MOVE_DECLARATION") from None
    if declared.in_place:
        refuse_in_sql(declared.columns, "columns", file)
        refuse_in_sql(declared.reverse, "reverse", file)
    for problem in problems(declared):
        raise ConfigError(f"{file}: {problem}", "MOVE_DECLARATION")
    return declared


def limit_problems(limits: LimitsPart) -> list[str]:
    """What is wrong with the values of ``[limits]``, of whichever kind the move is."""
    found = []
    for field, low, high in (
        ("batch_rows", 1, 1_000_000), ("workers", 1, 64), ("relay_rows", 1, 1_000_000), ("lock_attempt_ms", 1, 10_000),
        ("lock_patience_seconds", 1, 3600), ("block_ms", 10, 600_000), ("outbox_rows", 0, 10_000_000),
        ("max_wal_mb_per_second", 0, 1_000_000), ("max_archive_backlog", 0, 1_000_000), ("max_commit_ms", 0, 600_000), ("quarantine_rows", 0, 10_000_000),
        ("max_connections_percent", 1, 100), ("max_replica_lag_seconds", 0, 86_400), ("max_lock_waiters", 0, 10_000), ("replica_wait_seconds", 0, 86_400),
        ("max_slot_mb", 1, 1_000_000), ("max_wait_seconds", 0, 604_800),
    ):  # fmt: skip
        if not low <= getattr(limits, field) <= high:
            found.append(f"limits.{field} must be between {low} and {high}")
    return found + window_problems(limits.windows)


def problems(d: Declaration) -> list[str]:
    """What is wrong with the values of a declaration."""
    found = limit_problems(d.limits) + window_problems(d.gates.cutover_windows)
    found += [
        f"accept: {kind!r} is none of {', '.join(ACCEPTED)}" for kind in d.accept if kind not in ACCEPTED
    ]
    if d.kind not in (COPY, IN_PLACE):
        found.append(f"kind = {d.kind!r} is none of {', '.join(KINDS)}")
    found += reference_problems(d.references)
    if d.in_place:
        return found + _in_place_problems(d)
    found += transforms.problems("columns", d.columns) + transforms.problems("reverse", d.reverse)
    if d.source.replica_env and any(
        isinstance(by, Transform) for part in (d.columns, d.reverse) for by in part.values()
    ):
        found.append(
            "replica_env: columns by a Python function are read from the primary, where what the function gave is kept"
        )
    if d.sync != Sync() or d.not_null:
        found.append(f"sync and not_null belong to kind = '{IN_PLACE}'")
    if d.switch not in ("rename", "none"):
        found.append(f"switch = {d.switch!r} is neither rename nor none")
    if d.two_databases and d.switch == "rename":
        found.append("switch = 'rename' needs one database; across two the switch is a row: switch = 'none'")
    if not d.two_databases and d.switch == "none":
        found.append("switch = 'none' is for two databases; in one the tables are renamed")
    if d.capture not in ("triggers", "log"):
        found.append(f"capture = {d.capture!r} is neither triggers nor log")
    if d.gates.on_divergence not in ("pause", "abort"):
        found.append("gates.on_divergence is pause or abort")
    if not 0 < d.rollback_hours <= 24 * 365:
        found.append("rollback_hours must be above 0 and at most a year")
    if d.columns and not d.reverse and not d.one_way:
        found.append(
            "columns are mapped and nothing says how they come back: give [reverse], or one_way = true to go without a rollback"
        )
    if len(set(d.key)) < len(d.key):
        found.append("key names a column twice")
    if not d.source.table or not d.target.table:
        found.append("source.table and target.table must be named")
    return found


def _in_place_problems(d: Declaration) -> list[str]:
    found = []
    if d.source.replica_env:
        found.append("a move in place reads what it fills in where it stands: no replica_env")
    if d.two_databases or d.target.create:
        found.append(
            "a move in place has one database, and a migration makes its target: no url_env, no create"
        )
    if not d.columns:
        found.append("a move in place fills columns: name them in [columns]")
    if not d.sync.triggers and not d.sync.checks:
        found.append(
            "[sync] names neither triggers nor checks: nothing would keep what is filled in current while writes go on"
        )
    if d.sync.triggers and not d.reverse and not d.one_way:
        found.append("nothing says how the old side is kept: give [reverse], or one_way = true")
    if d.references:
        found.append("references belong to moves that copy: in place both sides are one table's rows")
    for column in d.not_null:
        if column not in d.columns:
            found.append(f"not_null names {column}, which is not in [columns]")
    if not d.source.table or not d.target.table:
        found.append("source.table and target.table must be named")
    return found
