"""The rows about indexes in the schema ``lockgate``: generations, aliases, events. Plain reading and writing, one lock."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from lockgate.errors import Busy, ConfigError, Refused
from lockgate.postgres.link import Link
from lockgate.stores.manifest import Manifest, read_manifest
from lockgate.stores.searching import physical_name

_COLUMNS = (
    "name, generation, store, place, state, live, spec_hash, manifest, embedder, canary, records, content_root, index_hash, scan_digest, "
    "to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), to_char(sealed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), verdict, "
    "COALESCE(validation ->> 'against', '')"
)


BEGUN = "build"
"""The kind of the event that a build begins with."""


class Generation(msgspec.Struct, frozen=True):
    """One generation of an index, as recorded. Hashes are empty until it is sealed."""

    name: str
    generation: str
    store: str
    place: str
    state: str
    live: bool
    spec_hash: str
    manifest: Manifest
    embedder: str
    canary: tuple[tuple[float, ...], ...]
    records: int
    content_root: str
    index_hash: str
    scan_digest: str
    started_at: str
    sealed_at: str | None
    verdict: str
    against: str
    """The generation that ``verdict`` compared this one with; "" without a verdict."""

    @property
    def physical(self) -> str:
        """Its name in the store."""
        return physical_name(self.name, self.generation)

    def passed(self, serving: str) -> bool:
        """Whether the last validation passed, against ``serving``: a pass against any other says nothing of what readers have."""
        return self.verdict == "pass" and self.against == serving


class Alias(msgspec.Struct, frozen=True):
    """What an alias points to, by our record. ``window`` tells that rolling back is still allowed."""

    name: str
    generation: str
    previous: str
    epoch: int
    window: bool
    pending: dict[str, str] | None


def read_generations(link: Link, name: str = "") -> list[Generation]:
    """All generations, or those of ``name``, oldest first; without those that were dropped."""
    rows = link.rows(
        f"SELECT {_COLUMNS} FROM lockgate.index_generation WHERE state <> 'dropped' AND ($1 = '' OR name = $1) ORDER BY name, started_at, generation",  # noqa: S608 - our own columns
        name,
    )
    return [_generation(row) for row in rows]


def every_name(link: Link, name: str) -> list[str]:
    """The names of all generations of ``name`` that there ever were, dropped ones too."""
    rows = link.rows("SELECT generation FROM lockgate.index_generation WHERE name = $1 ORDER BY 1", name)
    return [row[0] for row in rows]


def index_names(link: Link) -> list[str]:
    """Every index that there ever was."""
    return [row[0] for row in link.rows("SELECT DISTINCT name FROM lockgate.index_generation ORDER BY 1")]


def _generation(row: tuple[Any, ...]) -> Generation:
    values = list(row)
    values[7] = read_manifest(values[7])
    values[9] = tuple(tuple(v) for v in values[9])
    return Generation(*values)


def find_generation(link: Link, name: str, generation: str) -> Generation:
    """One generation. Raises ``ConfigError`` for an unknown one."""
    known = read_generations(link, name)
    for one in known:
        if one.generation == generation:
            return one
    if not known and name not in (names := index_names(link)):
        raise ConfigError(
            f"there is no index {name!r} (known: {', '.join(names) or 'none'})", "INDEX_UNKNOWN"
        )
    shown = ", ".join(g.generation for g in known) or "none"
    raise ConfigError(f"index {name!r} has no generation {generation!r} (known: {shown})", "INDEX_UNKNOWN")


def read_alias(link: Link, name: str) -> Alias | None:
    """The alias ``name``; None where it never was swapped to anything."""
    if not link.value("SELECT pg_catalog.to_regclass('lockgate.index_alias') IS NOT NULL"):
        return None
    rows = link.rows(
        "SELECT name, generation, previous, epoch, COALESCE(rollback_until > clock_timestamp(), false), pending FROM lockgate.index_alias WHERE name = $1",
        name,
    )
    return Alias(*rows[0]) if rows else None


def fed_by(link: Link, name: str) -> dict[str, str]:
    """The generations of ``name`` that a move into it feeds, with the move's name."""
    if not link.value("SELECT pg_catalog.to_regclass('lockgate.move') IS NOT NULL"):
        return {}
    rows = link.rows(
        "SELECT name, declaration ->> 'generation', declaration ->> 'previous' FROM lockgate.move "
        "WHERE declaration ->> 'kind' = 'index' AND declaration -> 'index' ->> 'name' = $1 AND stage NOT IN ('finished', 'aborted')",
        name,
    )
    return {generation: move for move, *both in rows for generation in both if generation}


def unfinished(link: Link, row: Generation) -> str:
    """The command that brings a generation that is being built to its seal, as its build was called; where nobody kept that, what to type."""
    if move := fed_by(link, row.name).get(row.generation):
        return f"lockgate move status {move}"
    call = link.value(
        "SELECT details ->> 'call' FROM lockgate.index_event WHERE name = $1 AND kind = $2 AND to_generation = $3 ORDER BY id DESC LIMIT 1",
        row.name, BEGUN, row.generation,
    )  # fmt: skip
    return (
        call
        or f"Call the build that was cut off again: lockgate index build {row.name} --generation {row.generation} with the source of its records."
    )


def add_generation(
    link: Link, name: str, generation: str, store: str, place: str, manifest: Manifest, embedder: str
) -> None:
    """Record a generation that is being built; one that is recorded already stays as it is. Raises ``Refused`` for the name of a dropped one."""
    new = link.run(
        "INSERT INTO lockgate.index_generation (name, generation, store, place, state, spec_hash, manifest, embedder) "
        "VALUES ($1, $2, $3, $4, 'building', $5, $6, $7) ON CONFLICT (name, generation) DO NOTHING",
        name, generation, store, place, manifest.spec_hash, manifest.as_json(), embedder,
    )  # fmt: skip
    state = "SELECT state FROM lockgate.index_generation WHERE name = $1 AND generation = $2"
    if not new and link.value(state, name, generation) == "dropped":
        raise Refused(
            f"generation {generation} of index {name} was dropped, and a name is never used twice", "INDEX_EXISTS",
            next="Build without --generation: the next number is taken.",
        )  # fmt: skip


def forget_generation(link: Link, name: str, generation: str) -> None:
    """Take back the row of a build whose store refused the specification."""
    link.run(
        "DELETE FROM lockgate.index_generation WHERE name = $1 AND generation = $2 AND state = 'building'", name, generation
    )  # fmt: skip


def record_event(
    link: Link, name: str, kind: str, actor: str, *, before: str = "", after: str = "", elapsed_ms: float | None = None, details: Any = None,
) -> None:  # fmt: skip
    """Add an event; events are never changed."""
    link.run(
        "INSERT INTO lockgate.index_event (name, kind, from_generation, to_generation, actor, elapsed_ms, details) VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb)",
        name, kind, before, after, actor, elapsed_ms, json.dumps(details or {}),
    )  # fmt: skip


@contextmanager
def writing(
    link: Link, name: str, wait: float, *, sleep: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic
) -> Iterator[None]:  # fmt: skip
    """Hold the lock of the index ``name``: one writer for each alias. Raises ``Busy`` after ``wait`` seconds.

    The lock is the session's, so it is free as soon as the writer's session ends, however it ends.
    """
    key = int.from_bytes(hashlib.sha256(f"lockgate:index:{name}".encode()).digest()[:8], "big", signed=True)
    deadline = clock() + wait
    while not link.value("SELECT pg_catalog.pg_try_advisory_lock($1)", key):
        if clock() >= deadline:
            raise Busy(
                f"another command works on the index {name}", next="Wait for it to end, then call this again."
            )
        sleep(0.1)
    try:
        yield
    finally:
        if link.alive:
            link.rollback()
            link.run("SELECT pg_catalog.pg_advisory_unlock($1)", key)
