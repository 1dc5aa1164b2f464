"""The gate of a running service: strict until the first success, then a cached verdict that a thread refreshes.

Every refresh is a heartbeat too: one query reads the environment and registers the instance with its contract. Requests
never wait for it; they read one attribute.
"""

import atexit
import math
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from lockgate.errors import Refused
from lockgate.gate.checking import check, look_unregistered, own_of_environment, target_of
from lockgate.gate.contract import Contract
from lockgate.gate.judge import Own
from lockgate.gate.readiness import STOP, UNKNOWN, Readiness, State, event_of
from lockgate.gate.report import Answer, Condition, Report
from lockgate.postgres.gate import Seen, beat, look, sign_off
from lockgate.record.redact import redact

if TYPE_CHECKING:
    from lockgate.gate.writes import WriteGuard
    from lockgate.postgres.target import Target

_AT_ONCE = threading.BoundedSemaphore(4)
"""Looks at databases that one process takes at the same time, however many gates it holds."""
_STARTING = threading.Lock()
SPREAD = 0.2
"""Seconds over which the first looks of gates that start together are spread."""


def _renew_locks() -> None:
    # A fork copies a lock as it is, also one that a thread holds which the child does not have.
    global _AT_ONCE, _STARTING
    _AT_ONCE, _STARTING = threading.BoundedSemaphore(4), threading.Lock()


os.register_at_fork(after_in_child=_renew_locks)


class Gate:
    """One gate of one service.

    ``interval`` seconds (with a fifth of jitter) lie between two refreshes; a heartbeat counts for four of them. ``own`` is
    what the process shows of itself, or a callable that gives it. ``on_change(before, after, report)`` hears every change
    of state, in the gate's thread; what it raises is thrown away. ``registers=False`` only looks, and writes no heartbeat: then a
    contract-phase file does not wait for this process. One that is to register and may not stays closed.
    ``write_guard`` refuses writes while the live schema is not the one that the code was built for: True takes the contract's
    ``signature``, or what lockgate recorded where it names none; a contract with a signature needs no word.
    """

    def __init__(
        self,
        contract: Contract,
        database: "str | Target",
        *,
        service: str = "",
        interval: float = 15.0,
        timeout: float = 5.0,
        own: "Own | Callable[[], Own] | None" = None,
        registers: bool = True,
        write_guard: "WriteGuard | bool | None" = None,
        on_change: "Callable[[Readiness, Readiness, Report], None] | None" = None,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self.contract = contract
        self.target = target_of(database)
        self.service = service or contract.service or "service"
        self.interval = interval
        self.timeout = timeout
        self.registers = registers
        self._open = False
        self.read_only: Mapping[str, object] | None = None
        """Why and for how long writes are refused; None while they are not."""
        self.guard = _guard_of(contract, write_guard)
        """The write guard, or None where nobody asked for one."""
        self.intents = False
        """True while the database keeps queued writes, waiting or done; then writes with an idempotency key are looked up."""
        self.readiness = Readiness()
        self.report = Report((Condition("schema:revision", "unknown", Answer.UNKNOWN, "not asked yet"),))
        self.seen_at = 0.0
        self.looks = 0
        probes = max((probe.timeout for probe in contract.probes if probe.always), default=0.0)
        self._lease = max(4 * interval, 5.0)
        self._patience = 3 * timeout + probes
        self._told: tuple[object, ...] = ()
        self._own = own
        self._on_change = [on_change] if on_change is not None else []
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - jitter
        self._forget_process()

    # -- life ---------------------------------------------------------------------------------------

    def _forget_process(self) -> None:
        self.pid = os.getpid()
        self.instance_id = f"{socket.gethostname()}-{self.pid}-{os.urandom(4).hex()}"
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._changed = threading.Condition()
        self._registered = False
        self._counts_until = math.inf

    @property
    def open(self) -> bool:
        """True while traffic may flow: the last verdict was yes, and the thread that renews it is alive. All that a request reads."""
        return self._open and self._clock() < self._counts_until

    @property
    def overdue(self) -> bool:
        """True while a yes does not count, because nobody has renewed it for four intervals: the process was frozen."""
        return self._open and not self.open

    def start(self) -> None:
        """Begin to refresh in the background. Call it as often as you like; after a fork the child gets its own instance."""
        with _STARTING:
            if self.pid != os.getpid():
                self._forget_process()
                self.readiness, self._open = Readiness(), False
            if self._thread is None and self.readiness.state != State.STOPPING:
                self._thread = threading.Thread(
                    target=self._refresh_for_ever, name="lockgate-gate", daemon=True
                )
                self._counts_until = self._clock() + self._lease
                self._thread.start()
                atexit.register(self.stop)

    def stop(self) -> None:
        """Close the gate for good, end the thread, and sign the instance off. Also called when the interpreter ends."""
        if self.pid != os.getpid():
            return  # a fork that never started it: the instance is the parent's
        atexit.unregister(self.stop)
        self._move(STOP, self.report)
        self._wake.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(self.timeout + 1)
        if self._registered:
            self._registered = False
            sign_off(self.target, self.instance_id, timeout=2.0)

    @property
    def takes_writes(self) -> bool:
        """True while a write may go to the application: no read-only mode, and a schema that the code was built for."""
        return self.read_only is None and (self.guard is None or self.guard.open)

    def permit_write(self) -> None:
        """For code without a middleware: raises ``Refused`` with READ_ONLY_MODE, or SCHEMA_SIGNATURE and the diff."""
        if self.guard is not None and not self.guard.open:
            raise self.guard.refusal()
        if self.read_only is not None:
            raise Refused(f"read-only mode is on: {self.read_only.get('reason', '')}", "READ_ONLY_MODE")

    def on_change(self, call: "Callable[[Readiness, Readiness, Report], None]") -> None:
        """Also tell ``call`` of every change of state and of every new schema revision."""
        self._on_change.append(call)

    def wait(self, timeout: float) -> bool:
        """Start, and wait until traffic may flow, ``timeout`` seconds at most. For workers: ``if not gate.wait(60): exit``."""
        self.start()
        with self._changed:
            self._changed.wait_for(lambda: self.open or self.readiness.state == State.STOPPING, timeout)
        return self.open

    def __enter__(self) -> "Gate":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- refreshing ---------------------------------------------------------------------------------

    def refresh(self) -> Report:
        """Ask now, in this thread, and take the answer over. Never raises: what goes wrong is an unknown."""
        self._go_on()
        # Who waits in a long queue of other gates is alive: its verdict goes on to count.
        while not _AT_ONCE.acquire(timeout=self._lease / 4):
            self._go_on()
        try:
            self._go_on()
            try:
                own = self._own() if callable(self._own) else self._own or own_of_environment()
                report = check(
                    self.contract, self.target, own=own, timeout=self.timeout,
                    starting=not self.readiness.serves, look=self._look(own),
                )  # fmt: skip
                event = event_of(report)
            except Exception as error:
                why = redact(f"the check itself failed: {type(error).__name__}: {error}")
                report = Report(
                    (
                        Condition(
                            "gate:check",
                            "unknown",
                            Answer.UNKNOWN,
                            why,
                            "This is a bug; the last verdict is kept.",
                        ),
                    )
                )
                event = UNKNOWN
        finally:
            _AT_ONCE.release()
        self.looks += 1
        moved = report.observed.get("revision") != self.report.observed.get("revision")
        self._move(event, report)
        if self.guard is not None and report.observed and (moved or self.guard.due()):
            with _AT_ONCE:
                self.guard.look(self.target, timeout=self.timeout)
        return report

    def _go_on(self) -> None:
        """A look begins, which may take its time. It makes no verdict count again that has come to its end."""
        now = self._clock()
        if now < self._counts_until < math.inf:
            # The heartbeat of the last look still counts that long for others; a slow answer may take longer.
            self._counts_until = max(self._counts_until, now + self._patience)

    def _look(self, own: Own) -> "Callable[..., Seen]":
        if not self.registers:
            return look_unregistered
        instance = {
            "instance_id": self.instance_id,
            "service": self.service,
            "ttl_seconds": max(1, round(self.interval * 4)),
            "observed": {
                "secrets_revision": own.secrets_revision,
                "index_hashes": dict(own.index_hashes),
                "state": self.readiness.state,
                **({} if self.guard is None else {"writes": self.guard.verdict.answer}),
            },
        }

        def ask(target: "Target", contract: Mapping[str, object], *, timeout: float) -> Seen:
            seen = beat(target, contract, instance, timeout=timeout)
            if seen.kind == "doubt" and "42883" in seen.why:
                return look(target, contract, timeout=timeout)  # format 1 knows no heartbeat
            if seen.kind == "seen":
                self._registered = bool(seen.state.get("registered"))
            return seen

        return ask

    def _move(self, event: str, report: Report) -> None:
        before = self.readiness
        revision = self.report.observed.get("revision")
        after = before.after(event)
        if event != STOP:
            if event != UNKNOWN or before.state == State.STARTING:
                self.report = report
            if report.observed:
                self.seen_at = self._clock()
                mode = report.observed.get("read_only")
                self.read_only = mode if isinstance(mode, dict) else None
                self.intents = bool(report.observed.get("intents"))
        with self._changed:
            self.readiness, self._open = after, after.serves
            if self._thread is not None:  # who refreshes by hand decides itself how old a verdict may be
                self._counts_until = self._clock() + self._lease
            self._changed.notify_all()
        self._tell(report)
        moved = report.observed.get("revision", revision) != revision
        if after.state != before.state or moved:
            for call in self._on_change:
                try:
                    call(before, after, report)
                except Exception:  # noqa: S112 - a listener's fault is not the gate's; it must go on refreshing
                    continue

    def _tell(self, report: Report) -> None:
        """Log every change once: which conditions close the gate, or hold nobody up but could not be asked."""
        if self.readiness.state == State.STOPPING:
            return
        amiss = tuple((c.id, c.code) for c in report.conditions if c.answer != "pass")
        if self._told == (self._open, amiss):
            return
        self._told = (self._open, amiss)
        import logging

        log, name = logging.getLogger("lockgate.gate"), self.service
        why = redact("; ".join(f"{c.id}: {c.evidence}" for c in report.conditions if c.answer != "pass"))
        if not self._open:
            log.warning("the gate of %s is closed (%s): %s", name, report.answer, why)
        elif amiss:
            log.warning("the gate of %s stays open on its last verdict: %s", name, why)
        else:
            log.info("the gate of %s is open (%s)", name, report.answer)

    def _refresh_for_ever(self) -> None:
        pause = 0.2
        self._wake.wait(SPREAD * self._rng.random())
        while self.readiness.state != State.STOPPING:
            self.refresh()
            if self.readiness.serves:
                pause, seconds = 0.2, self.interval * (0.8 + 0.4 * self._rng.random())
            else:
                pause, seconds = min(pause * 1.6, self.interval, 5.0), pause * (0.5 + self._rng.random())
            self._wake.wait(seconds)
            self._wake.clear()


def _guard_of(contract: Contract, given: "WriteGuard | bool | None") -> "WriteGuard | None":
    if given is False or (given is None and not contract.signature):
        return None
    if given is not None and given is not True:
        return given
    from lockgate.gate.signature import Signature
    from lockgate.gate.writes import WriteGuard

    return WriteGuard(Signature.from_file(contract.signature) if contract.signature else None)
