"""Asking: one look at the database, the probes beside it, one report. And asking again until it is ready or out of time."""

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from lockgate.gate.contract import Contract
from lockgate.gate.judge import Own, Sight, judge
from lockgate.gate.probing import ask_probes
from lockgate.gate.report import Answer, Report
from lockgate.postgres.gate import Seen, look
from lockgate.postgres.target import Target

if TYPE_CHECKING:
    from collections.abc import Mapping


class Look(Protocol):
    """How the database is asked: ``postgres.gate.look``, or ``beat`` with an instance."""

    def __call__(self, target: Target, contract: "Mapping[str, object]", /, *, timeout: float) -> Seen:
        """Ask ``target``; never raises for what the database does."""
        ...


def look_unregistered(target: Target, contract: "Mapping[str, object]", /, *, timeout: float) -> Seen:
    """As ``look``, for a service that does not register on purpose: the report says so."""
    seen = look(target, contract, timeout=timeout)
    return seen if seen.kind != "seen" else seen._replace(state={**seen.state, "registered": None})


def target_of(database: "str | Target") -> Target:
    """The target behind a URL; a ``Target`` is taken as it is. Raises ``ConfigError`` for what is no URL."""
    return database if isinstance(database, Target) else Target(database, source="the gate's database")


def check(
    contract: Contract,
    database: "str | Target",
    *,
    own: Own | None = None,
    timeout: float = 5.0,
    starting: bool = True,
    signed: bool = False,
    look: Look = look,
) -> Report:
    """Compare ``contract`` with ``database`` (a URL or a ``Target``): one connection, one query, and the probes beside it.

    ``signed``: the schema signature that the contract names is a condition, too, for another connection. A service has its write guard.
    ``timeout`` in seconds bounds the database; every probe has its own. Not ``starting``: as for a process that serves. Never raises for what the database or a probe
    does; raises ``ConfigError`` for a URL that is none.
    """
    target = target_of(database)
    wanted = [probe for probe in contract.probes if starting or probe.always]
    probes = ask_probes(wanted, target) if wanted else ()
    seen = look(target, contract.document(), timeout=timeout)
    report = judge(
        contract,
        Sight(seen.kind, seen.state, seen.why, seen.next),
        probes,
        own or own_of_environment(),
        starting=starting,
    )
    if signed and contract.signature:
        from lockgate.gate.signed import with_signature

        return with_signature(report, contract, target, timeout=timeout)
    return report


def own_of_environment() -> Own:
    """What this process shows of itself: ``LOCKGATE_SECRETS_REVISION``, and ``LOCKGATE_INDEX_HASHES`` as ``name=hash,...``."""
    import os

    hashes = {}
    for pair in os.environ.get("LOCKGATE_INDEX_HASHES", "").split(","):
        name, _, value = pair.strip().partition("=")
        if name and value:
            hashes[name] = value
    return Own(os.environ.get("LOCKGATE_SECRETS_REVISION", "").strip(), hashes)


FINAL = frozenset({Answer.AHEAD_TOO_FAR, Answer.CHECKSUM_MISMATCH})
"""Answers that waiting does not change for this image."""


def wait(
    contract: Contract,
    database: "str | Target",
    *,
    timeout: float,
    own: Own | None = None,
    signed: bool = False,
    on_report: "Callable[[Report, float], None] | None" = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    rng: random.Random | None = None,
    look: Look = look,
) -> Report:
    """Check until the report is ready, or final, or ``timeout`` seconds are over; the last report comes back.

    Pauses grow from 0.2 to 5 seconds with jitter, so that many processes that start at once do not ask in step.
    ``on_report`` hears every report with the seconds that are left.
    """
    rng = rng or random.Random()  # noqa: S311 - jitter
    deadline, pause = clock() + timeout, 0.2
    while True:
        left = deadline - clock()
        limit = max(0.5, min(5.0, left))
        report = check(contract, database, own=own, timeout=limit, signed=signed, look=look)
        left = deadline - clock()
        if on_report is not None:
            on_report(report, left)
        if report.ready or report.answer in FINAL or left <= 0:
            return report
        sleep(max(0.0, min(left, pause * (0.5 + rng.random()))))
        pause = min(pause * 1.6, 5.0)
