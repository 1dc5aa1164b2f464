"""Observations → facts of each statement, set against what the policy claims of it. Pure functions of plain values."""

from collections.abc import Iterable, Mapping

import msgspec

from lockgate.policy.finding import StatementFacts
from lockgate.policy.model.schema import key_of
from lockgate.postgres.observing import Held, Known, Observation
from lockgate.postgres.tree.words import LockMode

CONFIRMED, MISMATCH, ONLY_MEASURED, ONLY_CLAIMED = "confirmed", "mismatch", "only measured", "only claimed"
_OTHERS = ("pg_catalog", "information_schema", "lockgate")


class Claim(msgspec.Struct, frozen=True, rename="camel"):
    """One claim of the policy beside what was measured: ``what`` is lock, rewrite or scan."""

    what: str
    relation: str
    claimed: str
    measured: str
    answer: str


class Evidence(msgspec.Struct, frozen=True, rename="camel"):
    """What stands behind a statement's facts. ``held`` is all that its transaction held when it ended.

    ``made_here`` are the relations among the locked ones that the same file made: nobody else can see them yet, so nobody
    waits. ``bytes_created`` is the size of the storage that it made: what the disk needs beside what is there already.
    """

    how: str
    held: dict[str, str]
    wal_bytes: int
    files_created: int
    bytes_created: int
    claims: tuple[Claim, ...]
    made_here: tuple[str, ...] = ()


class StatementTrace(msgspec.Struct, frozen=True, rename="camel"):
    """One statement as it was measured. ``locks`` are those that it took itself, the strongest on each relation."""

    line: int
    kind: str
    locks: dict[str, str]
    rewrites: list[str]
    scans: list[str]
    seconds: float
    evidence: Evidence

    @property
    def waited_for(self) -> dict[str, str]:
        """The locks on relations that others know: those that can keep somebody waiting."""
        return {name: mode for name, mode in self.locks.items() if name not in self.evidence.made_here}


class MigrationTrace(msgspec.Struct, frozen=True, rename="camel"):
    """One file: how long it took, and its statements."""

    revision: str
    name: str
    seconds: float
    lock_seconds: float
    statements: tuple[StatementTrace, ...]


def trace_of(seen: Observation, claim: StatementFacts | None, line: int, kind: str) -> StatementTrace:
    """The facts of one observed statement."""
    earlier = {held.oid: held for held in seen.earlier}
    taken: dict[str, LockMode] = {}
    already: dict[str, frozenset[str]] = {}
    made_here: list[str] = []
    claimed = {} if claim is None else claim.locks
    for held in seen.held:
        then = earlier.get(held.oid)
        if not _shown(held) or (held.oid not in seen.before and then is None):
            continue
        name = _name(held, seen.before, then)
        old = then.modes if then else frozenset()
        new = _strongest(_while_it_lived(held, sampled=seen.sampled) - old)
        already[name] = old
        if held.oid not in seen.before:
            made_here.append(name)
        if new is not None:
            taken[name] = max(new, taken.get(name, new))
    locks = {name: mode.name for name, mode in taken.items()}
    for name, said in claimed.items():
        if said in already.get(name, ()) and LockMode[said] > taken.get(name, 0):
            locks[name] = said
    rewrites, scans = _rewrites(seen, earlier), _scans(seen, earlier)
    claims = (
        ()
        if claim is None
        else (
            *_lock_claims(claimed, locks, seen.sampled),
            *_set_claims("rewrite", claim.rewrites, rewrites),
            *_set_claims("scan", claim.scans, scans),
        )
    )
    held_now = {
        _name(h, seen.before, earlier.get(h.oid)): mode.name
        for h in seen.held
        if _shown(h) and (mode := _strongest(h.modes)) is not None
    }
    return StatementTrace(
        line, kind, locks, sorted(rewrites), sorted(scans), round(seen.seconds, 6),
        Evidence(
            "sampled from a second session" if seen.sampled else "read in the same transaction",
            held_now, seen.wal_bytes, *_created(seen, earlier), claims, tuple(sorted(made_here)),
        ),
    )  # fmt: skip


def tally(traces: Iterable[MigrationTrace]) -> dict[str, int]:
    """How many claims were confirmed, contradicted, not claimed and not seen."""
    counted = {CONFIRMED: 0, MISMATCH: 0, ONLY_MEASURED: 0, ONLY_CLAIMED: 0}
    for migration in traces:
        for statement in migration.statements:
            for claim in statement.evidence.claims:
                counted[claim.answer] += 1
    return counted


def lock_seconds(statements: Iterable[StatementTrace]) -> float:
    """How long readers would have been shut out: from the first AccessExclusiveLock on a relation that was there before the file to the end of the file."""
    total, shut = 0.0, False
    for statement in statements:
        shut = shut or LockMode.AccessExclusiveLock.name in statement.waited_for.values()
        total += statement.seconds if shut else 0.0
    return round(total, 6)


def _lock_claims(claimed: Mapping[str, str], locks: Mapping[str, str], sampled: bool) -> list[Claim]:
    found = []
    for name in sorted({*claimed, *locks}):
        said, seen = claimed.get(name, ""), locks.get(name, "")
        if said == seen:
            answer = CONFIRMED
        elif not said:
            answer = ONLY_MEASURED
        elif not seen or (sampled and LockMode[seen] < LockMode[said]):
            answer = ONLY_CLAIMED
        else:
            answer = MISMATCH
        found.append(Claim("lock", name, said, seen, answer))
    return found


def _set_claims(what: str, claimed: list[str], measured: set[str]) -> list[Claim]:
    found = []
    for name in sorted({*claimed, *measured}):
        said, seen = name in claimed, name in measured
        answer = CONFIRMED if said and seen else ONLY_MEASURED if seen else ONLY_CLAIMED
        found.append(Claim(what, name, "yes" if said else "", "yes" if seen else "", answer))
    return found


def _rewrites(seen: Observation, earlier: Mapping[int, Held]) -> set[str]:
    """Relations that were there and have another file now; an index that is made again keeps its name, not its oid."""
    fresh = {
        (held.schema, held.name): held.storage
        for held in seen.held
        if held.oid not in seen.before and held.oid not in earlier
    }
    found = set()
    for here in seen.held:
        then = earlier.get(here.oid) or seen.before.get(here.oid)
        if then is None or not then.storage or not _plain(then.schema):
            continue
        storage = here.storage if here.name else fresh.get((then.schema, then.name), 0)
        if storage and storage != then.storage:
            found.add(_shown_name(then.schema, then.name))
    return found


def _scans(seen: Observation, earlier: Mapping[int, Held]) -> set[str]:
    found = set()
    for held in seen.held:
        then = earlier.get(held.oid)
        there = held.oid in seen.before or then is not None
        if there and _shown(held) and held.kind in "rm" and held.scans > (then.scans if then else 0):
            found.add(_name(held, seen.before, then))
    return found


def _created(seen: Observation, earlier: Mapping[int, Held]) -> tuple[int, int]:
    """Files of storage that the statement made, for new relations and for replaced ones, and their bytes."""
    count = size = 0
    for held in seen.held:
        then = earlier.get(held.oid) or seen.before.get(held.oid)
        if held.storage and held.storage != (then.storage if then else 0):
            count, size = count + 1, size + held.size
    return count, size


def _strongest(modes: Iterable[str]) -> LockMode | None:
    return max((LockMode[mode] for mode in modes), default=None)


def _while_it_lived(held: Held, *, sampled: bool) -> frozenset[str]:
    """A concurrent rebuild drops each old index in its last moment, when nobody can reach it: that lock keeps nobody waiting."""
    others = held.modes - {LockMode.AccessExclusiveLock.name}
    return others if sampled and not held.name and others else held.modes


def _plain(schema: str) -> bool:
    return schema not in _OTHERS and not schema.startswith("pg_toast")


def _shown(held: Held) -> bool:
    return _plain(held.schema)


def _name(held: Held, before: Mapping[int, Known], then: Held | None) -> str:
    """As it was called before the statement: a rename must not make it another relation."""
    old = then if then is not None and then.name else before.get(held.oid)
    return _shown_name(old.schema, old.name) if old else _shown_name(held.schema, held.name)


def _shown_name(schema: str, name: str) -> str:
    if schema.startswith("pg_temp"):
        return f"pg_temp.{name}"
    return key_of(schema, name)
