"""The load by ``pgbench``, which keeps the server as busy as it can, instead of by lockgate's own clients.

It runs the queries of the releases, or scripts of the user. Its log of transactions says when each ended and how long it
took; a client that meets an error ends, as pgbench has it. Its files are gone as soon as it holds them open, so a rehearsal
that is killed leaves none; pgbench itself ends with the scratch database, which the next run drops.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import msgspec

from lockgate.errors import ConfigError, LockgateError
from lockgate.postgres.child import Tail
from lockgate.postgres.embedded import locks
from lockgate.postgres.programs import address
from lockgate.postgres.target import Target
from lockgate.record.points import point
from lockgate.record.redact import redact
from lockgate.rehearsal.load import CALM_SECONDS, Load, Sample, Work, load_of

_FOLDER = f"lockgate-pgbench-{os.getuid()}-"
_LONG = 86_400
"""Seconds after which pgbench ends by itself, should nobody end it."""
_STARTS = 10.0
ENDS = 30.0
"""Seconds in which pgbench has to finish the transactions that run when the files are applied."""
_WRITES = re.compile(r"\b(insert|update|delete|merge|copy|truncate|call)\b", re.I)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.S)
_ABORTED = re.compile(
    r"client \d+ (?:script (\d+) )?aborted in command (?:\d+ \([^)]*\) of script (\d+);)?.*"
)
"""A client that an error ended: after an error of SQL the number of its script stands in front, else behind."""


class Stuck(LockgateError):
    """pgbench did not end when the files were applied; it was killed, and what it lived through is not known."""

    default_reason = "LOAD_STUCK"


class Script(msgspec.Struct, frozen=True):
    """What a client of pgbench does in one transaction; ``kind`` is read or write."""

    kind: str
    text: str
    weight: int = 1


class Pgbench(msgspec.Struct, frozen=True):
    """The program, and the user's scripts; without any it runs the queries of the releases."""

    program: str
    scripts: tuple[Script, ...] = ()


def script_of(text: str) -> Script:
    """A script of the user: a write when a statement in it writes."""
    return Script("write" if _WRITES.search(_COMMENT.sub(" ", text)) else "read", text)


def scripts_of(work: list[Work]) -> list[Script]:
    """One script for each thing that clients do, rolled back; reads and writes take turns, however many there are of each. Pure."""
    counts = {kind: max(1, sum(1 for w in work if w.kind == kind)) for kind in ("read", "write")}
    return [
        Script(
            item.kind,
            # A client prepares once; its variables last as long as its connection.
            f"\\if :ready{number} = 0\n{item.prepare};\n\\set ready{number} 1\n\\endif\nBEGIN;\n{item.execute};\nROLLBACK;\n",
            counts["write" if item.kind == "read" else "read"],
        )
        for number, item in enumerate(work)
    ]


def under_pgbench(
    target: Target,
    bench: Pgbench,
    work: list[Work],
    clients: int,
    apply: Callable[[], None],
    *,
    ends: float = ENDS,
) -> Load:
    """Run ``apply`` while pgbench is at work. Raises what ``apply`` raises, ``ConfigError`` when pgbench does not run, and ``Stuck`` when it has not ended so many seconds after."""
    scripts = list(bench.scripts) or scripts_of(work)
    connection, hidden = address(target)
    began = time.monotonic()
    with _folder() as folder:
        command = [
            bench.program, "--no-vacuum", f"--client={clients}", "--jobs=1", f"--time={_LONG}", "--log", f"--log-prefix={folder}/log",
        ]  # fmt: skip
        for number, script in enumerate(scripts):
            file = folder / f"{number}.sql"
            file.write_text(script.text)
            command += [f"--file={file}@{script.weight}", f"--define=ready{number}=0"]
        point("file:pgbench")
        process = subprocess.Popen(
            [*command, connection],
            env={**os.environ, **hidden, "PGAPPNAME": "lockgate/load"},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            start_new_session=True,  # with a group of its own, what a script starts ends with it
        )  # fmt: skip
        said = _Said(process)
        try:
            point("pgbench:started")
            log = _opened(folder, process, said)
        except BaseException:
            _end(process)
            raise
    with log:
        try:
            with suppress(subprocess.TimeoutExpired):
                process.wait(CALM_SECONDS)
                raise _does_not_run(process, said)
            point("pgbench:busy")
            since = time.time()
            apply()
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
            # What ends a run of --time: transactions that run are finished, and the log is written out.
            process.send_signal(signal.SIGALRM)
            try:
                process.wait(ends)
            except subprocess.TimeoutExpired:
                raise Stuck(
                    f"pgbench did not end within {ends:g} s after the files were applied, and was killed: a transaction of its scripts takes longer, or waits for something"
                ) from None
        finally:
            _end(process)
        samples = samples_of(log.read().decode(), said.aborted(), scripts)
    return load_of(samples, since, clients, time.monotonic() - began, "pgbench")


def samples_of(log: str, said: str, scripts: list[Script]) -> list[Sample]:
    """The transactions in pgbench's log, then the clients that it says an error ended. Pure.

    A line is: client, transaction, microseconds (or a word, where it failed), script, and when it ended.
    """
    samples = []
    for line in log.splitlines():
        words = line.split()
        if len(words) < 6:
            continue
        at = int(words[4]) + int(words[5]) / 1e6
        failed = "" if words[2].isdigit() else words[2]
        samples.append(
            Sample(at, 0.0 if failed else int(words[2]) / 1e6, scripts[int(words[3])].kind, failed)
        )
    last = max((s.at for s in samples), default=0.0)
    for match in _ABORTED.finditer(said):
        samples.append(Sample(last, 0.0, scripts[int(match[1] or match[2] or 0)].kind, redact(match[0])))
    return samples


def sweep() -> None:
    """Remove the files of a rehearsal that was killed in the moment in which pgbench starts."""
    for folder in Path(tempfile.gettempdir()).glob(_FOLDER + "*"):
        with suppress(OSError):
            young = time.time() - folder.stat().st_mtime < _STARTS and not (folder / "lock").exists()
            if folder.stat().st_uid == os.getuid() and not young and not locks.is_held(f"{folder}/lock"):
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder for as long as pgbench needs to open its files."""
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER))
    lock = locks.open_lock(f"{folder}/lock")
    try:
        locks.acquire(lock, 0.0)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


class _Said:
    """What pgbench says, heard while it runs: with every NOTICE of its scripts that is more than a pipe holds.

    A pgbench that nobody hears stops in the middle of a transaction, and its locks are in the way of the migration.
    """

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stderr is not None
        self._aborted: list[str] = []
        self._tail = Tail(process.stderr, self._hear)

    def _hear(self, line: str) -> None:
        if _ABORTED.search(line):
            self._aborted.append(line)

    def text(self) -> str:
        """The end of it, once pgbench has ended."""
        return self._tail.text()

    def aborted(self) -> str:
        """The lines about clients that an error ended, however much was said after them; once pgbench has ended."""
        self.text()
        return "\n".join(self._aborted)


def _opened(folder: Path, process: "subprocess.Popen[bytes]", said: _Said) -> BinaryIO:
    """The log, once pgbench has opened it: then it has read its scripts too."""
    late = time.monotonic() + _STARTS
    while process.poll() is None and time.monotonic() < late:
        for path in folder.glob("log.*"):
            return path.open("rb")
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.01)
    raise _does_not_run(process, said)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Have it ended, whatever it does, and with it what its scripts have started."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _does_not_run(process: "subprocess.Popen[bytes]", said: _Said) -> ConfigError:
    _end(process)
    told = said.text().splitlines()
    lines = [line for line in told if "error" in line or "ERROR" in line] or told
    return ConfigError(
        f"pgbench ended before the first file was applied: {redact(' '.join(lines[:3]))[:500]}",
        "USAGE",
        next="Mend the script of --load pgbench:FILE, or leave it out: --load pgbench runs the queries of the releases.",
    )
