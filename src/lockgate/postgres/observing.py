"""A work session that looks at itself: what each statement of a migration really locked, replaced, read and wrote.

The real engine runs on it and does not notice: between the statements of a file the session asks the server what it
holds, in the same transaction and the same round trip, and the answers are taken out before the engine sees its own.
A statement that no transaction can hold is watched from a second connection; an old snapshot is held against it until
it stands still, so that its locks are seen and not only guessed.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from lockgate.errors import LockgateError
from lockgate.postgres.alarm import Cause
from lockgate.postgres.queries import query
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Ahead, AheadRefused, Call, Cancelled, Reply, Wire

_CLOCK = "lockgate_clock"
_OBSERVE = "lockgate_observe"
_CLOCK_SQL = "SELECT extract(epoch FROM pg_catalog.clock_timestamp())::text, pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0')::bigint::text"

_PATIENCE = 2.0
"""Seconds after which a statement that runs alone is let go on, whether it stood still or not."""
_HAND_IN = "SELECT pg_catalog.pg_stat_force_next_flush()"
_WRITTEN = "RowExclusiveLock"


class Held(NamedTuple):
    """One relation on which the session holds locks: ``modes`` as in pg_locks, ``storage`` its filenode (0: none or gone), ``size`` in bytes."""

    oid: int
    modes: frozenset[str]
    schema: str
    name: str
    kind: str
    storage: int
    scans: int
    size: int = 0


class Known(NamedTuple):
    """A relation before a file: its name, kind, file of storage and scans."""

    schema: str
    name: str
    kind: str
    storage: int
    scans: int = 0
    size: int = 0


class Observation(NamedTuple):
    """What one statement did. ``before`` are the relations before its file, ``earlier`` what was held before it began.

    ``sampled`` says that a second session looked, so that a lock of a moment may have been missed.
    """

    seconds: float
    wal_bytes: int
    held: tuple[Held, ...]
    earlier: tuple[Held, ...]
    before: dict[int, Known]
    sampled: bool = False


class ObservingWire(Wire):
    """A ``Wire`` whose statements of interest are observed. ``wanted`` maps ``id`` of a statement's text to its key."""

    def __init__(self, target: Target, name: str, **more: Any) -> None:
        super().__init__(target, name, **more)
        self._target = target
        self.wanted: dict[int, tuple[str, int]] = {}
        self.claims: dict[tuple[str, int], tuple[str, ...]] = {}
        """Key → the relations, quoted, that the statement is said to lock: held against it when it runs alone."""
        self.seen: dict[tuple[str, int], Observation] = {}
        self._relations: dict[int, Known] | None = None
        self._ready = False
        self._handed_in = False
        self._pending: tuple[Held, ...] = ()

    # -- inside a transaction -----------------------------------------------------------------------

    def batch(
        self,
        calls: Iterable[Call],
        *,
        deadline: float | None = None,
        cause: Cause | None = None,
        uncancellable: bool = False,
        label: str = "batch",
        ahead: Ahead | None = None,
    ) -> list[Reply]:
        """As ``Wire.batch``; statements of interest are observed, and what goes ahead goes in a trip of its own."""
        calls = list(calls)
        if ahead is not None:
            deadline, cause = self._commit(ahead)
        if label == "commit":
            replies = super().batch(
                calls, deadline=deadline, cause=cause, uncancellable=uncancellable, label=label
            )
            self._settled()
            return replies
        wanted = [i for i, call in enumerate(calls) if id(call.sql) in self.wanted]
        if not wanted:
            return super().batch(
                calls, deadline=deadline, cause=cause, uncancellable=uncancellable, label=label
            )
        return self._observed(calls, wanted, deadline, cause, label)

    def _commit(self, ahead: Ahead) -> tuple[float, Cause]:
        """The COMMIT of the file before, alone: its listener may use the database before the next file begins."""
        ahead.over = False
        refused: ServerError | None = None
        # Behind the COMMIT: the session is idle afterwards, and that is when it hands its counters in. Where nothing was counted
        # there is nothing to hand in; what was written to may be read once more at the COMMIT, by a deferred trigger.
        counted = any(held.scans or _WRITTEN in held.modes for held in self._pending)
        hand_in = [Call(_HAND_IN)] if self._counts() and counted else []
        try:
            super().batch(
                [*ahead.calls, *hand_in],
                deadline=ahead.deadline,
                cause=ahead.cause,
                uncancellable=True,
                label=ahead.label,
            )
            self._handed_in = bool(hand_in) or not counted
        except ServerError as error:
            refused = error
        except Cancelled as stop:
            refused = stop.error
        ahead.over = True
        if refused is None:
            self._settled()
        answer = ahead.landed(refused, True)
        if refused is not None:
            raise AheadRefused(refused)
        return answer

    def _observed(
        self,
        calls: list[Call],
        wanted: list[int],
        deadline: float | None,
        cause: Cause | None,
        label: str,
    ) -> list[Reply]:
        self._prepare()
        if self._counts() and not self._handed_in:
            # Else the counters of this transaction would begin with what earlier ones have not handed in yet.
            self.one(_HAND_IN)
        self._handed_in = False
        before = self._before()
        sent: list[Call] = []
        owner: list[int] = []  # the caller's own index of each call that is sent; -1 for ours
        clock, look = Call(_CLOCK, (), prepared=True), Call(_OBSERVE, (), prepared=True)
        for number, call in enumerate(calls):
            of_interest = number in wanted
            extra = [clock] if of_interest else []
            sent += [*extra, call]
            owner += [-1] * len(extra) + [number]
            if of_interest:
                sent += [clock, look]
                owner += [-1, -1]
        try:
            replies = super().batch(sent, deadline=deadline, cause=cause, label=label)
        except ServerError as error:
            place = error.index
            while place < len(owner) - 1 and owner[place] < 0:
                place += 1
            error.index = owner[place]
            raise
        held: tuple[Held, ...] = ()
        for number in wanted:
            at = owner.index(number)
            start, end = replies[at - 1].rows[0], replies[at + 1].rows[0]
            now = _held(replies[at + 2].rows)
            self.seen[self.wanted[id(calls[number].sql)]] = Observation(
                float(end[0] or 0) - float(start[0] or 0),
                int(end[1] or 0) - int(start[1] or 0),
                now,
                held,
                before,
            )
            held = now
        self._pending = held
        return [reply for reply, mine in zip(replies, owner, strict=True) if mine >= 0]

    def _prepare(self) -> None:
        if not self._ready:
            self._ready = True
            self.prepare(_CLOCK, _CLOCK_SQL)
            self.prepare(_OBSERVE, query("rehearsal/observe"))

    def _before(self) -> dict[int, Known]:
        """The relations as committed. Read whole once, then kept up with what each file touched."""
        if self._relations is None:
            self._relations = read_relations(self)
        return dict(self._relations)

    def _settled(self) -> None:
        """A file is committed: what it held is how those relations are now."""
        if self._relations is not None:
            for held in self._pending:
                if not held.name:
                    self._relations.pop(held.oid, None)
                elif held.schema not in ("lockgate", "pg_toast"):
                    self._relations[held.oid] = Known(held.schema, held.name, held.kind, held.storage)
        self._pending = ()

    # -- outside any transaction --------------------------------------------------------------------

    def alone(
        self,
        sql: str,
        *,
        deadline: float | None = None,
        cause: Cause | None = None,
        meanwhile: Callable[[], None] | None = None,
    ) -> Reply:
        """As ``Wire.alone``; a statement of interest is watched from a second connection while it runs."""
        key = self.wanted.get(id(sql))
        if key is None:
            return super().alone(sql, deadline=deadline, cause=cause, meanwhile=meanwhile)
        self._relations = None
        if self._counts():
            self.one(_HAND_IN)
        before = read_relations(self)
        start = self.one(_CLOCK_SQL).rows[0]
        watcher = _Watcher(self._target, self._backend(), self.claims.get(key, ()))
        watcher.start()
        try:
            reply = super().alone(sql, deadline=deadline, cause=cause)
        finally:
            watcher.finish()
        end = self.one(_CLOCK_SQL).rows[0]
        if self._counts():
            self.one(_HAND_IN)
        after = read_relations(self, sizes=True)
        held = tuple(_sampled(oid, modes, before, after) for oid, modes in watcher.modes.items())
        others = ({*before} | {*after}) - watcher.modes.keys()
        held += tuple(
            _sampled(oid, (), before, after)
            for oid in sorted(others)
            if _moved(before.get(oid), after.get(oid))
        )
        self.seen[key] = Observation(
            max(0.0, float(end[0] or 0) - float(start[0] or 0) - watcher.stood_still),
            int(end[1] or 0) - int(start[1] or 0),
            held,
            (),
            before,
            sampled=True,
        )
        return reply

    def _backend(self) -> int:
        return int(self.value("SELECT pg_catalog.pg_backend_pid()::text") or 0)

    def _counts(self) -> bool:
        """Whether this server can be asked to write its counters now (PostgreSQL 15)."""
        return self._pg.server_version >= 150000


class _Watcher:
    """Looks at another session in a thread of its own until told to stop."""

    def __init__(self, target: Target, pid: int, relations: tuple[str, ...]) -> None:
        self.modes: dict[int, set[str]] = {}
        self.stood_still = 0.0
        self._pid = pid
        self._wire = Wire(target, "watch")
        self._blocker = Wire(target, "snapshot")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lockgate-sampler", daemon=True)
        try:
            self._blocker.one("BEGIN ISOLATION LEVEL REPEATABLE READ")
            self._blocker.one("SELECT 1")
            for relation in relations:
                self._hold(relation)
            self._wire.prepare("look", query("rehearsal/sample"))
        except BaseException:
            self.close()
            raise

    def _hold(self, relation: str) -> None:
        self._blocker.one("SAVEPOINT one")
        try:
            self._blocker.one(f"SELECT FROM {relation} LIMIT 0")
            self._blocker.one("RELEASE SAVEPOINT one")
        except ServerError:
            self._blocker.one(
                "ROLLBACK TO SAVEPOINT one"
            )  # an index, or a relation that is made by this very file

    def start(self) -> None:
        self._thread.start()

    def finish(self) -> None:
        """Stop looking and let go of what was held."""
        self._stop.set()
        self._thread.join(timeout=15)
        self.close()

    def close(self) -> None:
        self._blocker.close()
        self._wire.close()

    def _run(self) -> None:
        clock = self._wire._clock
        calls = [Call("look", (str(self._pid),), prepared=True)]
        begun, since, holding = clock(), 0.0, True
        try:
            while not self._stop.is_set():
                waits = False
                for oid, mode, waiting in self._wire.batch(calls)[0].rows:
                    waits = waits or waiting == "true"
                    if mode:
                        self.modes.setdefault(int(oid or 0), set()).add(mode)
                since = since or (clock() if waits else 0.0)
                # Seen twice at rest: what it takes before its wait is known. Or it runs long enough to be seen anyway.
                if holding and ((waits and clock() > since) or clock() - begun > _PATIENCE):
                    holding = False
                    self._blocker.batch([Call("ROLLBACK")])
                    self.stood_still = clock() - since if since else 0.0
        except (LockgateError, ServerError):
            self._blocker.close()  # whatever went wrong here, the statement must not wait for us


def read_relations(wire: Wire, *, sizes: bool = False) -> dict[int, Known]:
    """Every user relation of the database, by oid; ``sizes`` reads their bytes too."""
    rows = wire.one(query("rehearsal/relations"), "true" if sizes else "false").rows
    return {
        int(r[0] or 0): Known(r[1] or "", r[2] or "", r[3] or "", int(r[4] or 0), int(r[5] or 0), int(r[6] or 0))
        for r in rows
    }  # fmt: skip


def _held(rows: Sequence[tuple[str | None, ...]]) -> tuple[Held, ...]:
    return tuple(
        Held(int(r[0] or 0), frozenset((r[1] or "").split(",")), r[2] or "", r[3] or "", r[4] or "", int(r[5] or 0), int(r[6] or 0), int(r[7] or 0))
        for r in rows
    )  # fmt: skip


def _sampled(oid: int, modes: Iterable[str], before: dict[int, Known], after: dict[int, Known]) -> Held:
    """What is known of a relation after a statement that ran alone; one that is gone has no name, as in pg_locks."""
    now, then = after.get(oid), before.get(oid)
    if now is None:
        old = then or Known("", "", "", 0)
        return Held(oid, frozenset(modes), old.schema, "", old.kind, 0, 0)
    scans = now.scans - then.scans if then else 0
    return Held(oid, frozenset(modes), now.schema, now.name, now.kind, now.storage, scans, now.size)


def _moved(then: Known | None, now: Known | None) -> bool:
    return then is None or now is None or now.scans > then.scans or now.storage != then.storage
