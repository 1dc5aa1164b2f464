"""Background workers: paused before a migration, shown to have stopped, and let go again.

    command   any three commands, or a preset of them (kubectl, containerapp, systemctl, compose)
    sql       statements of yours: a flag that your workers read
    lease     lockgate's own flag, ``lockgate.workers_paused()``, which ends by itself when the release dies

The proof that they stopped is a count of what still runs: 0, or it is not known.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from lockgate.config import seconds
from lockgate.config.release import Workers
from lockgate.errors import LockgateError, RunFailed
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.wire import Wire
from lockgate.release.budget import Budget
from lockgate.release.job import fill


class Commands(msgspec.Struct, frozen=True):
    """The commands of a preset. ``before`` prints what resume needs (``{before}``); ``status`` how many run, or a word.

    With ``names``, ``before`` prints what is active now, one name a line: nothing where nobody works.
    """

    before: tuple[str, ...]
    pause: tuple[str, ...]
    status: tuple[str, ...]
    resume: tuple[str, ...]
    resume_one: tuple[str, ...] = ()
    count_lines: bool = False
    names: bool = False


def preset(workers: Workers) -> Commands:
    """The commands of ``[workers]``: its own, or those of its preset for its name and namespace."""
    name, space = workers.name, workers.namespace
    where: tuple[str, ...]
    if workers.preset == "kubectl":
        where = ("--namespace", space) if space else ()
        scale = ("kubectl", "scale", f"deployment/{name}", *where)
        get = ("kubectl", "get", f"deployment/{name}", *where, "-o")
        return Commands(
            (*get, "jsonpath={.spec.replicas}"), (*scale, "--replicas=0"), (*get, "jsonpath={.status.replicas}"),
            (*scale, "--replicas={before}"), (*scale, "--replicas=1"),
        )  # fmt: skip
    if workers.preset == "containerapp":
        where = ("--name", name, "--resource-group", space)
        revision = ("az", "containerapp", "revision")
        return Commands(
            (*revision, "list", *where, "--query", "[?properties.active].name", "--output", "tsv"),
            (*revision, "deactivate", *where, "--revision", "{before}"),
            ("az", "containerapp", "replica", "list", *where, "--revision", "{before}", "--query", "length(@)", "--output", "tsv"),
            (*revision, "activate", *where, "--revision", "{before}"), names=True,
        )  # fmt: skip
    if workers.preset == "systemctl":
        return Commands(
            (), ("systemctl", "stop", name), ("systemctl", "show", name, "--property=ActiveState", "--value"), ("systemctl", "start", name)
        )  # fmt: skip
    if workers.preset == "compose":
        compose = ("docker", "compose", *(("--project-name", space) if space else ()))
        return Commands(
            (), (*compose, "stop", name), (*compose, "ps", "--status", "running", "--quiet", name), (*compose, "start", name), count_lines=True
        )  # fmt: skip
    return Commands((), workers.pause, workers.status, workers.resume, workers.resume_one)


def read_count(said: str, *, lines: bool = False) -> int | None:
    """How many workers run by what a status command printed: a number, nothing (0), or a word; None when it is not understood."""
    text = said.strip().strip('"')
    if lines:
        return len(text.splitlines())
    if not text:
        return 0
    if text.isdigit():
        return int(text)
    word = text.lower()
    if word in ("inactive", "stopped", "failed", "dead", "exited"):
        return 0
    if word in ("active", "running", "activating", "deactivating", "reloading"):
        return 1
    return None


class Provider(Protocol):
    """One way to reach workers."""

    def before(self, budget: Budget) -> str:
        """What resume has to know of them; read before they are paused."""

    def pause(self, budget: Budget, before: str) -> None:
        """Ask them to stop. Doing it twice is right."""

    def running(self, budget: Budget, before: str) -> int | None:
        """How many still run; None when it cannot be told."""

    def resume(self, budget: Budget, before: str, *, one: bool = False) -> bool:
        """Let them go, or only one of them; False when this provider cannot start just one. Doing it twice is right."""


class ByCommand:
    """Workers behind commands."""

    def __init__(self, workers: Workers, folder: Path) -> None:
        self.commands = preset(workers)
        self.folder = folder

    def before(self, budget: Budget) -> str:
        """What the preset's ``before`` prints. Raises ``RunFailed`` where more is active than one pause reaches."""
        said = self._run(self.commands.before, budget, "").strip() if self.commands.before else ""
        if self.commands.names and len(said.splitlines()) > 1:
            raise RunFailed(
                f"{', '.join(said.split())} are active, and a pause reaches one",
                "COMMAND_FAILED",
                next="Deactivate all but one, or set pause, status and resume of [workers] instead of the preset.",
            )
        return said

    def pause(self, budget: Budget, before: str) -> None:
        """Run the pause command; where nothing was active there is nothing to stop."""
        if before or not self.commands.names:
            self._run(self.commands.pause, budget, before)

    def running(self, budget: Budget, before: str) -> int | None:
        """Run the status command; one that fails cannot tell."""
        try:
            if not self.commands.names:
                return self._count(budget, before)
            # Since the pause a rollout may have brought another one up: every one that may run is counted.
            counts = [
                self._count(budget, one) for one in dict.fromkeys([*before.split(), *self._active(budget)])
            ]
        except RunFailed as error:
            if error.code == "COMMAND_FAILED":
                return None
            raise
        return None if None in counts else sum(count or 0 for count in counts)

    def resume(self, budget: Budget, before: str, *, one: bool = False) -> bool:
        """Run the resume command; where something is active already, or nothing was, there is nothing to let go."""
        if one and not self.commands.resume_one:
            return False
        if self.commands.names and (not before or self._active(budget)):
            return True
        self._run(self.commands.resume_one if one else self.commands.resume, budget, before)
        return True

    def _active(self, budget: Budget) -> list[str]:
        return self._run(self.commands.before, budget, "").split()

    def _count(self, budget: Budget, before: str) -> int | None:
        return read_count(self._run(self.commands.status, budget, before), lines=self.commands.count_lines)

    def _run(self, command: tuple[str, ...], budget: Budget, before: str) -> str:
        done = budget.run(fill(command, {"before": before}), folder=self.folder)
        if not done.ok:
            why = "ran out of time" if done.stopped else f"ended with {done.code}"
            raise RunFailed(f"{' '.join(command[:3])} {why}: {done.told()}", "COMMAND_FAILED")
        return done.out


class BySql:
    """Workers that read a flag in the database: yours (``sql``) or lockgate's own (``lease``)."""

    def __init__(self, workers: Workers, connect: Callable[[], Wire]) -> None:
        self.workers = workers
        self.connect = connect

    def before(self, budget: Budget) -> str:
        """Nothing: the flag has no memory of its own."""
        return ""

    def pause(self, budget: Budget, before: str) -> None:
        """Set the flag. Lockgate's own is the row that the pause itself is."""
        if self.workers.provider == "sql":
            self._run(self.workers.pause_sql, budget)

    def running(self, budget: Budget, before: str) -> int | None:
        """The number that ``status_sql`` gives."""
        try:
            value = self._run(self.workers.status_sql, budget)
        except LockgateError:
            return None
        return int(value) if value is not None and value.lstrip("-").isdigit() else None

    def resume(self, budget: Budget, before: str, *, one: bool = False) -> bool:
        """Take the flag back."""
        if one:
            return False
        if self.workers.provider == "sql":
            self._run(self.workers.resume_sql, budget)
        return True

    def _run(self, sql: str, budget: Budget) -> str | None:
        wire = self.connect()
        try:
            return wire.value(sql, deadline=budget.clock() + max(1.0, budget.left))
        except ServerError as error:
            raise RunFailed(f"{sql[:80]}: {error.message}", "COMMAND_FAILED") from None
        finally:
            wire.close()


def provider_of(workers: Workers, folder: Path, connect: Callable[[], Wire]) -> Provider | None:
    """The provider of ``[workers]``; None when no workers are configured."""
    if workers.provider == "command" or workers.preset:
        return ByCommand(workers, folder)
    if workers.provider in ("sql", "lease"):
        return BySql(workers, connect)
    return None


def wait_until_stopped(provider: Provider, workers: Workers, budget: Budget, before: str) -> int:
    """Poll until none runs; returns the number of looks. Raises ``RunFailed`` (``WORKERS_NOT_STOPPED``)."""
    looks, seen = 0, None
    while True:
        seen = provider.running(budget, before)
        looks += 1
        if seen == 0:
            return looks
        budget.hear()
        if budget.left <= 0:
            told = "it cannot be told how many run" if seen is None else f"{seen} still run"
            raise RunFailed(
                f"the workers did not stop in {budget.seconds:g} s: {told}",
                "WORKERS_NOT_STOPPED",
                details={"running": seen},
            )
        pause = min(seconds(workers.poll_interval), budget.left)
        if budget.alarm is not None:
            budget.alarm.sleep(pause)
        else:
            budget.sleep(pause)
