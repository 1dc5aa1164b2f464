"""The migration job on a platform: started, polled with patience, stopped when it outlives its time, and never believed alone.

Any four commands make a platform: ``start`` prints the name of the execution, ``status`` one word, ``logs`` the log,
``stop`` ends it. In each of them ``{execution}``, ``{image}``, ``{release}`` and ``{env}`` are filled in.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from lockgate.config import seconds
from lockgate.config.release import Job
from lockgate.errors import LockgateError, Refused, RunFailed
from lockgate.record.redact import redact
from lockgate.release.budget import Budget
from lockgate.release.job_verdict import Said, read_word

NOT_VISIBLE = 20
"""Polls in a row after which a job that is still not visible counts as never started."""


class Polled(msgspec.Struct):
    """What polling saw: changes only, each with its time; the last word; whether the time ran out."""

    execution: str
    last: Said = Said.UNKNOWN
    word: str = ""
    timed_out: bool = False
    stopped: bool = False
    timeline: list[dict[str, str]] = []
    logs: list[str] = []
    logs_source: str = "none"


class Platform:
    """The commands of ``[job]`` for one release."""

    def __init__(self, job: Job, values: Mapping[str, str], folder: Path, now: Callable[[], str]) -> None:
        self.job = job
        self.values = dict(values)
        self.folder = folder
        self.now = now

    def prepare(self, budget: Budget, image: str) -> list[str]:
        """Set the job's image to the candidate's digest and read it back; check that it runs once and is not retried.

        Returns what was found. Raises ``Refused`` (``JOB_UNSAFE``).
        """
        told = []
        if self.job.set_image:
            if not image:
                raise Refused(
                    "job.set_image is configured and this release names no image",
                    "CANDIDATE_IMAGE",
                    next="lockgate release --image NAME@sha256:DIGEST",
                )
            self._must(self.job.set_image, budget)
        if self.job.read_image:
            seen = self._must(self.job.read_image, budget).strip().strip('"')
            if image and seen != image:
                raise Refused(f"the job's image is {seen}, not the candidate {image}", "JOB_UNSAFE")
            told.append(f"image {seen}")
        if self.job.inspect:
            said = self._must(self.job.inspect, budget)
            try:
                facts = json.loads(said)
                parallelism, retries = int(facts["parallelism"]), int(facts["retries"])
            except (ValueError, KeyError, TypeError):
                raise Refused(
                    f"job.inspect did not print {{parallelism, retries}}: {redact(said[:200])}", "JOB_UNSAFE"
                ) from None
            if parallelism != 1 or retries != 0:
                raise Refused(
                    f"the job has parallelism {parallelism} and retry limit {retries}; a migration runs once (1 and 0)",
                    "JOB_UNSAFE",
                )
            told.append("parallelism 1, retry limit 0")
        return told

    def start(self, budget: Budget) -> str:
        """Start it; the name of the execution. Raises ``RunFailed``: whether it started is then not known."""
        said = self._must(self.job.start, budget).strip()
        name = _name(said)
        if not name:
            raise RunFailed("job.start printed no name of an execution", "COMMAND_FAILED")
        return name

    def poll(self, execution: str, budget: Budget) -> Polled:
        """Ask until it ends or the time is over; then it is stopped, not only abandoned. Hiccups are waited out."""
        self.values["execution"] = execution
        polled = Polled(execution)
        missing = 0
        while True:
            said, word = self._ask(budget)
            if word != polled.word or said is not polled.last:
                polled.timeline.append({"at": self.now(), "status": said.value, "detail": redact(word[:300])})
            polled.last, polled.word = said, word
            if said in (Said.SUCCEEDED, Said.FAILED):
                break
            missing = missing + 1 if said is Said.NOT_FOUND else 0
            if missing >= NOT_VISIBLE:
                break
            budget.hear()
            if budget.left <= 0:
                polled.timed_out = True
                polled.stopped = self._stop()
                polled.timeline.append(
                    {"at": self.now(), "status": "timeout", "detail": "stopped" if polled.stopped else "could not be stopped"}
                )  # fmt: skip
                break
            pause = min(seconds(self.job.poll_interval), max(0.01, budget.left))
            if budget.alarm is not None:
                budget.alarm.sleep(pause)
            else:
                budget.sleep(pause)
        polled.logs, polled.logs_source = self._logs()
        return polled

    def stop(self, execution: str) -> bool:
        """End an execution; whether that worked."""
        self.values["execution"] = execution
        return self._stop()

    # -- parts ----------------------------------------------------------------------------------

    def _ask(self, budget: Budget) -> tuple[Said, str]:
        limit = seconds(self.job.call_timeout)
        try:
            done = Budget("status", limit, budget.alarm, budget.clock).run(
                self._fill(self.job.status), folder=self.folder
            )
        except LockgateError as error:
            if error.code == "CANCELLED":
                raise
            return Said.QUERY_ERROR, error.message
        if not done.ok:
            text = done.told(500)
            lost = any(mark in text.lower() for mark in ("not found", "notfound", "404"))
            return (Said.NOT_FOUND, "not-found") if lost else (Said.QUERY_ERROR, text or f"exit {done.code}")
        word = done.out.strip().splitlines()[-1].strip() if done.out.strip() else ""
        return read_word(word), word

    def _stop(self) -> bool:
        if not self.job.stop:
            return False
        try:
            return (
                Budget("stop", seconds(self.job.call_timeout), None)
                .run(self._fill(self.job.stop), folder=self.folder)
                .ok
            )
        except LockgateError:
            return False

    def _logs(self) -> tuple[list[str], str]:
        if not self.job.logs:
            return [], "none"
        try:
            done = Budget("logs", seconds(self.job.call_timeout), None).run(
                self._fill(self.job.logs), folder=self.folder
            )
        except LockgateError as error:
            return [error.message], "job-cli-error"
        lines = [redact(line) for line in done.out.splitlines()[-300:]]
        return (lines, "job-cli") if done.ok else ([done.told()], "job-cli-error")

    def _must(self, command: Sequence[str], budget: Budget) -> str:
        done = budget.run(self._fill(command), most=seconds(self.job.call_timeout), folder=self.folder)
        if not done.ok:
            why = "ran out of time" if done.stopped else f"ended with {done.code}"
            raise RunFailed(f"{' '.join(command[:4])} {why}: {done.told()}", "COMMAND_FAILED")
        return done.out

    def _fill(self, command: Sequence[str]) -> list[str]:
        return fill(command, self.values)


def fill(command: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """``command`` with ``{name}`` of ``values`` filled in, word by word: no shell sees what stands in them."""
    words = []
    for word in command:
        for name, value in values.items():
            word = word.replace("{" + name + "}", value)
        words.append(word)
    return words


def _name(said: str) -> str:
    """The name of the execution in what ``start`` printed: ``name`` of a JSON object, else the last line."""
    try:
        value = json.loads(said)
    except ValueError:
        return said.splitlines()[-1].strip() if said else ""
    if isinstance(value, dict):
        return str(value.get("name") or "")
    return value if isinstance(value, str) else said.strip()
