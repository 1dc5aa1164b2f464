"""Taking over: two locks, then the fence. Only who holds a ``Guard`` may change the schema.

The guard connection holds a session advisory lock and nothing else: autocommit, no snapshot. The work connection
holds a second one, because after ``kill -9`` the guard's is free within milliseconds while the old work session
may still run its statement. Both are polled: a blocking waiter holds a snapshot that concurrent index builds wait
for. Only with both in hand is the epoch raised, which turns every older runner's writes into nothing.
"""

import contextlib
import hashlib
import os
import random
import socket
import time
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Self

import msgspec

from lockgate import __version__
from lockgate.errors import Busy, Refused
from lockgate.postgres import home
from lockgate.postgres.alarm import Alarm
from lockgate.postgres.queries import query
from lockgate.postgres.settings import Facts, SessionSettings, apply_settings, prepare_session
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Call, Cancelled, ConnectionLost, Wire


def _key(role: str) -> int:
    return int.from_bytes(
        hashlib.sha256(f"lockgate:schema:{role}:1".encode()).digest()[:8], "big", signed=True
    )


GUARD_KEY = _key("guard")
WORK_KEY = _key("work")
RELEASE_KEY = _key("release")
"""64-bit advisory keys, derived so that no other tool picks them by accident; advisory locks are per database."""


def key_halves(key: int) -> tuple[str, str]:
    """The two halves under which ``pg_locks`` shows a 64-bit key (classid, objid)."""
    unsigned = key & 0xFFFF_FFFF_FFFF_FFFF
    return str(unsigned >> 32), str(unsigned & 0xFFFF_FFFF)


class RunIdentity(msgspec.Struct, frozen=True):
    """Who runs: an id, the command, the operator, and what the run is for."""

    run_id: str
    kind: str
    operator: str
    release_id: str | None = None
    host: str = msgspec.field(default_factory=socket.gethostname)
    client_pid: int = msgspec.field(default_factory=os.getpid)

    @property
    def short(self) -> str:
        """The first characters of the id, as shown in ``application_name``."""
        return self.run_id[:8]


class First(NamedTuple):
    """A session that looked at the database before anything was known to be pending, and its facts then."""

    wire: Wire
    facts: Facts

    def leads_to(self, facts: Facts) -> bool:
        """True when it was the same server, timeline, database and role that another session finds now."""
        names = ("system_identifier", "timeline", "database_oid", "user", "session_user")
        return all(getattr(self.facts, name) == getattr(facts, name) for name in names)


def watching(settings: SessionSettings) -> SessionSettings:
    """The limits of a session that only looks and watches, of a run with ``settings``."""
    return SessionSettings(settings.lock_timeout, type(settings.statement_timeout)(60_000))


class Guard:
    """Both connections, both locks and the epoch of one run. A context manager: leaving it gives everything back.

    ``work`` is the session that changes things, ``guard`` the one that watches; ``facts`` are those of ``work``. A session that
    looked ``first`` goes on as ``work`` where it still leads to where ``guard`` is, and is closed in any other case. Whatever
    the run reads and writes goes through ``work``: a server session has nothing in its caches at first, so each table and
    function that a second one used would be looked up twice.
    """

    work_wire: type[Wire] = Wire
    """What the work session is made of; the rehearsal puts one in that observes."""

    def __init__(
        self,
        target: Target,
        identity: RunIdentity,
        settings: SessionSettings,
        *,
        alarm: Alarm,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
        first: First | None = None,
    ) -> None:
        self.target = target
        self.identity = identity
        self.settings = settings
        self.alarm = alarm
        self.clock = clock
        self.rng = rng or random.Random()  # noqa: S311 - jitter, not a secret
        self.epoch = 0
        self.made_home = False
        """True where the tables of lockgate were made under these very locks, so that nothing can stand in the history."""
        self.abandoned: list[str] = []
        self.notes: list[str] = []
        try:
            self.guard = Wire(target, f"guard {identity.short}", alarm=alarm, clock=clock)
            self.guard_facts: Facts = prepare_session(self.guard, watching(settings), guard=True)
            self.work, self.facts = self._go_on(first) or self._open_work()
            if identity.kind == "down":
                self.work.patience = (
                    None  # its statements have no deadline of ours, only the server's statement_timeout
                )
            refuse_read_only(self.facts, target)
            self._refuse_pooler()
        except BaseException:
            self.close()
            if first is not None:
                first.wire.close()
            raise

    def _open_work(self) -> First:
        wire = self.work_wire(self.target, f"work {self.identity.short}", alarm=self.alarm, clock=self.clock)
        try:
            return First(wire, prepare_session(wire, self.settings, guard=False))
        except BaseException:
            wire.close()
            raise

    def _go_on(self, first: First | None) -> First | None:
        """``first`` as the work session; None where there is none, or where it is lost or leads elsewhere by now."""
        if first is None:
            return None
        with contextlib.suppress(ConnectionLost, ServerError):
            if (
                first.leads_to(self.guard_facts)
                and first.wire.rename(f"work {self.identity.short}") == first.facts.backend_pid
            ):
                made = self.settings.wanted(
                    guard=False, local=first.facts.by_socket, version=first.facts.version
                )
                apply_settings(first.wire, made)
                return first
        first.wire.close()
        return None

    def _refuse_pooler(self) -> None:
        # Both sessions are open now. A transaction pooler hands the same server session to both; asking twice on one
        # connection over time would miss it while the pool is idle.
        again = self.work.value("SELECT pg_catalog.pg_backend_pid()::text")
        if self.facts.backend_pid == self.guard_facts.backend_pid or again != str(self.facts.backend_pid):
            raise Refused(
                f"{self.target} is behind a transaction pooler: two connections are one server session",
                "POOLED_CONNECTION",
            )
        if (
            self.facts.system_identifier != self.guard_facts.system_identifier
            or self.facts.database_oid != self.guard_facts.database_oid
        ):
            raise Refused(
                f"{self.target} leads to different servers: two connections reached two of them",
                "POOLED_CONNECTION",
            )
        if self.work.libpq_pid != self.facts.backend_pid:
            # A proxy is in between. One that pools by transaction may deal its server sessions out in turn, so ask often.
            for wire, facts in ((self.work, self.facts), (self.guard, self.guard_facts)) * 8:
                if wire.value("SELECT pg_catalog.pg_backend_pid()::text") != str(facts.backend_pid):
                    raise Refused(
                        f"{self.target} is behind a transaction pooler: one connection moves between server sessions",
                        "POOLED_CONNECTION",
                    )
            self.notes.append(
                "a proxy stands between lockgate and PostgreSQL (the process ids differ); settings were read back and hold"
            )

    # -- taking over ------------------------------------------------------------------------------

    def acquire(
        self,
        wait: float,
        on_wait: Callable[[dict[str, str]], None] | None = None,
        grants: Callable[[], str] | None = None,
        meanwhile: Callable[[], None] | None = None,
    ) -> None:
        """Take both locks and raise the epoch, within ``wait`` seconds. Raises ``Busy`` that names the holder.

        ``grants`` are for the tables of the schema ``lockgate`` where they have to be made first. ``meanwhile`` is called
        once, under both locks and before anything is kept; what it raises ends the take-over without a trace.
        """
        deadline = self.clock() + wait
        self._poll(self.guard, GUARD_KEY, deadline, on_wait)
        self._poll(self.work, WORK_KEY, deadline, on_wait)
        # From here on the work session is never idle for long; one that is has lost its runner without a word.
        self.work.one("SET idle_session_timeout = '60000ms'")
        self.made_home = home.bring_up(self.work, grants, meanwhile) == 0
        self.epoch = self._take_epoch()

    def _poll(
        self, wire: Wire, key: int, deadline: float, on_wait: Callable[[dict[str, str]], None] | None
    ) -> None:
        pause, told = 0.02, False
        while wire.value(f"SELECT pg_catalog.pg_try_advisory_lock({key})") != "t":
            if self.clock() >= deadline:
                holder = self.holder(wire, key)
                raise Busy(_busy_message(holder), details={"holder": holder})
            if not told and on_wait is not None:
                told = True
                on_wait(self.holder(wire, key))
            self.alarm.sleep(min(pause * (0.5 + self.rng.random()), max(0.0, deadline - self.clock())))
            pause = min(pause * 1.5, 0.5)
            if wire is not self.guard:
                self.guard.value("SELECT 1")  # or its own idle_session_timeout would end it while we wait

    @staticmethod
    def holder(wire: Wire, key: int) -> dict[str, str]:
        """Who holds the lock ``key`` now; empty when nobody does any more."""
        rows = wire.one(query("holder"), *key_halves(key)).rows
        names = ("pid", "application", "user", "address", "age", "state")
        return dict(zip(names, [c or "" for c in rows[0]], strict=True)) if rows else {}

    def _take_epoch(self) -> int:
        i = self.identity
        calls = [
            Call("BEGIN"),
            Call("SET LOCAL statement_timeout = '60s'"),  # the limit of a migration's statements is not for these
            # Normally there. Where somebody deleted it, the chain check tells; the epoch must not begin anew.
            Call("INSERT INTO lockgate.fence (singleton, epoch) SELECT true, COALESCE(pg_catalog.max(epoch), 0) FROM lockgate.run ON CONFLICT (singleton) DO NOTHING"),
            # Whoever is still shown as running holds neither lock any more: we have both.
            Call("UPDATE lockgate.run SET state = 'abandoned', finished_at = pg_catalog.clock_timestamp(), message = $1 WHERE state = 'running' AND run_id <> $2 RETURNING run_id", (f"its locks were free; run {i.run_id} took over", i.run_id)),
            Call("UPDATE lockgate.fence SET epoch = epoch + 1, run_id = $1 RETURNING epoch::text", (i.run_id,)),
            Call(
                "INSERT INTO lockgate.run (run_id, kind, state, epoch, operator, host, client_pid, guard_pid, work_pid, release_id, tool_version) "
                "SELECT $1, $2, 'running', f.epoch, $3, $4, $5::bigint, $6::integer, $7::integer, $8, $9 FROM lockgate.fence f "
                "ON CONFLICT (run_id) DO UPDATE SET epoch = excluded.epoch, guard_pid = excluded.guard_pid, work_pid = excluded.work_pid, heartbeat_at = pg_catalog.clock_timestamp(), state = 'running'",
                (i.run_id, i.kind, i.operator, i.host, str(i.client_pid), str(self.guard_facts.backend_pid), str(self.facts.backend_pid), i.release_id, __version__),
            ),
            Call("COMMIT"),
        ]  # fmt: skip
        try:
            replies = self.work.batch(calls, label="epoch")
        except (ServerError, Cancelled):
            if self.work.alive:
                self.work.batch([Call("ROLLBACK")], uncancellable=True)
            raise
        self.abandoned = [row[0] or "" for row in replies[3].rows]
        return int(replies[4].rows[0][0] or 0)

    # -- giving back ------------------------------------------------------------------------------

    def close(self) -> None:
        """Close both connections; the server frees both locks. Safe to call twice."""
        for name in ("work", "guard"):
            if hasattr(self, name):
                getattr(self, name).close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_SETTLE = """
UPDATE lockgate.run SET state = 'abandoned', finished_at = pg_catalog.clock_timestamp(), message = 'its locks were free'
 WHERE state = 'running' AND (SELECT pg_catalog.pg_try_advisory_xact_lock($1::bigint)) AND (SELECT pg_catalog.pg_try_advisory_xact_lock($2::bigint))
RETURNING run_id
"""


def settle_abandoned(wire: Wire) -> list[str]:
    """Close the runs that are shown as running although nobody holds their locks; returns their ids.

    For a call that has nothing to apply and so takes no guard: without it a run that was killed after its last
    COMMIT would be shown as running for ever.
    """
    return [row[0] or "" for row in wire.one(_SETTLE, str(GUARD_KEY), str(WORK_KEY)).rows]


def refuse_read_only(facts: Facts, target: Target) -> None:
    """Raise ``READ_ONLY_TARGET`` for a standby or a read-only session, before any lock is asked for."""
    if facts.in_recovery:
        raise Refused(f"{target} is a standby", "READ_ONLY_TARGET")
    if facts.read_only:
        raise Refused(f"{target} is read-only (default_transaction_read_only)", "READ_ONLY_TARGET")


def _busy_message(holder: dict[str, str]) -> str:
    if not holder:
        return "another runner held the lock all the time; it has just ended"
    return f"another runner holds the lock: pid {holder['pid']}, {holder['application']}, {holder['user']} from {holder['address']}, connected for {holder['age']} s, {holder['state']}"
