"""The workers by hand: what an operator does on the way back from a release, under the same lease and in the same row."""

import shlex

import msgspec

from lockgate.config import Settings, seconds
from lockgate.errors import Busy, ConfigError
from lockgate.migrations.limits import Limits
from lockgate.postgres import releases
from lockgate.postgres.alarm import Alarm
from lockgate.postgres.releases import PauseRow
from lockgate.postgres.target import Target
from lockgate.release.budget import Budget
from lockgate.release.lease import Lease
from lockgate.release.look import connect_patiently
from lockgate.release.under_way import migration_under_way
from lockgate.release.workers import Provider, provider_of, wait_until_stopped

KEY = "by-hand"
"""What stands as the release where a person has paused the workers."""


class Seen(msgspec.Struct, frozen=True, rename="camel"):
    """The workers as they are: the row of their pause (None: never paused), and how many run (None: it cannot be told)."""

    pause: PauseRow | None
    running: int | None


def look_at(target: Target, settings: Settings, limits: Limits, alarm: Alarm) -> Seen:
    """Read the row and count. Raises ``ConfigError`` where no workers are configured."""
    own, provider = _provider(target, settings, limits, alarm)
    wire = connect_patiently(target, "workers", limits, alarm)
    try:
        pause = releases.read_pause(wire)
    finally:
        wire.close()
    budget = Budget("status", seconds(own.workers.timeout), alarm, limits.clock)
    return Seen(pause, provider.running(budget, _before(pause)))


def pause(target: Target, settings: Settings, limits: Limits, alarm: Alarm, actor: str, reason: str) -> Seen:
    """Pause them and count until none runs. Raises ``Busy`` while a release is under way, ``RunFailed`` when they do not stop."""
    own, provider = _provider(target, settings, limits, alarm)
    w = own.workers
    budget = Budget("pause", seconds(w.timeout), alarm, limits.clock)
    with _Leased(target, limits, alarm, actor) as lease:
        before = provider.before(budget)
        held_for = seconds(w.lease)
        lease.write(
            lambda wire: releases.begin_pause(
                wire, lease.token, KEY, w.provider or w.preset, actor, reason, held_for, {"before": before}
            )
        )
        before = _before(lease.write(releases.read_pause)) or before
        provider.pause(budget, before)
        wait_until_stopped(provider, w, budget, before)
        lease.write(lambda wire: releases.set_pause(wire, lease.token, "paused"))
        lease.write(lambda wire: releases.add_event(wire, KEY, "workers:pause", actor, {"reason": reason}))
        return Seen(lease.write(releases.read_pause), 0)


def resume(target: Target, settings: Settings, limits: Limits, alarm: Alarm, actor: str, reason: str) -> Seen:
    """Let them go, whoever paused them: a person answers for it that they fit the schema. Raises ``Busy``, also while a migration runs, and ``ConfigError``."""
    own, provider = _provider(target, settings, limits, alarm)
    budget = Budget("resume", seconds(own.workers.timeout), alarm, limits.clock)
    with _Leased(target, limits, alarm, actor) as lease:
        row = lease.write(releases.read_pause)
        if row is None or row.state == "resumed":
            raise ConfigError("nobody paused the workers", "USAGE", next="lockgate release workers status")
        holder = lease.write(migration_under_way)
        if holder:
            env = f" --env {shlex.quote(target.environment)}" if target.environment else ""
            raise Busy(
                f"a migration runs still: {holder}", details={"holder": holder}, state="The workers stay paused.",
                next=f"Wait for it, or end it; lockgate release recover{env} tells when it is over; then lockgate release workers resume{env} --reason TEXT",
            )  # fmt: skip
        provider.resume(budget, _before(row))
        lease.write(
            lambda wire: releases.set_pause(wire, lease.token, "resumed", detail={"why": reason, "by": actor})
        )
        lease.write(
            lambda wire: releases.add_event(
                wire, row.release_key, "workers:resume", actor, {"reason": reason}
            )
        )
        return Seen(lease.write(releases.read_pause), provider.running(budget, _before(row)))


class _Leased:
    """The lease for the moment of one act."""

    def __init__(self, target: Target, limits: Limits, alarm: Alarm, actor: str) -> None:
        self._lease = Lease(target, KEY, f"{actor}, workers by hand", limits, alarm)

    def __enter__(self) -> Lease:
        self._lease.acquire(5.0)
        return self._lease

    def __exit__(self, *_: object) -> None:
        self._lease.close()


def _provider(target: Target, settings: Settings, limits: Limits, alarm: Alarm) -> tuple[Settings, Provider]:
    own = settings.of(target.environment)
    provider = provider_of(
        own.workers, settings.root, lambda: connect_patiently(target, "workers", limits, alarm)
    )
    if provider is None:
        raise ConfigError("no [workers] are configured", next="Set [workers] in lockgate.toml.")
    return own, provider


def _before(row: PauseRow | None) -> str:
    return str(row.detail.get("before", "")) if row is not None else ""
