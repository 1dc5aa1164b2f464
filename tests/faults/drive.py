"""Projects, and runners on them: started, watched, hurt and waited for."""

import contextlib
import hashlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from faults.shapes import File

CANARY = "kanarienvogel-4711"
"""The password in every URL of these tests; it must never be seen again."""
PROGRAM = Path(__file__).parent / "runner.py"
SECONDS = 60.0
"""How long a runner may take before a test gives up on it."""


class Ended(NamedTuple):
    """A runner that has ended: its exit code (negative: the signal that killed it) and what it said."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on stdout; empty when the runner was killed before it could write it."""
        return json.loads(self.out) if self.out.strip() else {}

    @property
    def reason(self) -> str:
        """The reason code, "" on success."""
        return str(self.document.get("reasonCode", ""))

    @property
    def applied(self) -> list[str]:
        """The revisions that it says it applied."""
        return [file["revision"] for file in self.document.get("applied", [])]

    def __str__(self) -> str:
        return f"exit {self.code}\n--- out\n{self.out}\n--- err\n{self.err}"


class Running:
    """A runner that runs."""

    def __init__(self, nursery: "Nursery", pid: int, out: Path, err: Path) -> None:
        self.pid = pid
        self._nursery = nursery
        self._out = out
        self._err = err

    def signal(self, number: int) -> None:
        """Send it a signal; one that has ended gets none."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return not self._nursery.has_ended(self.pid)

    def said(self) -> str:
        """What it wrote so far, both streams."""
        return "".join(p.read_text("utf-8", "replace") for p in (self._out, self._err) if p.exists())

    def wait(self, seconds: float = SECONDS) -> Ended:
        """Wait for its end; one that does not end is killed and the test fails."""
        try:
            code = self._nursery.wait(self.pid, seconds)
        except TimeoutError:
            os.kill(self.pid, signal.SIGKILL)
            self._nursery.wait(self.pid, 10)
            raise AssertionError(f"the runner still ran after {seconds} s:\n{self.said()}") from None
        return Ended(code, self._out.read_text("utf-8", "replace"), self._err.read_text("utf-8", "replace"))


class Nursery:
    """The process that forks runners; see ``nursery.py``."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM.with_name("nursery.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._pending = b""
        self._born: list[int] = []
        self._ended: dict[int, int] = {}
        self._ready = False
        self._read_until(lambda: self._ready, SECONDS)

    def start(self, order: Mapping[str, object]) -> int:
        """Fork a runner; returns its pid."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        self._read_until(lambda: bool(self._born), SECONDS)
        return self._born.pop()

    def has_ended(self, pid: int) -> bool:
        """Whether the runner ``pid`` has ended."""
        self._read(0)
        return pid in self._ended

    def wait(self, pid: int, seconds: float) -> int:
        """The exit code of ``pid`` once it has ended. Raises ``TimeoutError``."""
        self._read_until(lambda: pid in self._ended, seconds)
        return self._ended[pid]

    def close(self) -> None:
        """End the nursery."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def _read_until(self, done: Any, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not done():
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._read(left)

    def _read(self, seconds: float) -> None:
        assert self._process.stdout is not None
        fd = self._process.stdout.fileno()
        if not select.select([fd], [], [], seconds)[0]:
            return
        data = os.read(fd, 65536)
        assert data, "the nursery ended"
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "ready" in message:
                self._ready = True
            elif "born" in message:
                self._ended.pop(message["born"], None)  # pids come again
                self._born.append(message["born"])
            else:
                self._ended[message["ended"]] = message["status"]


class Project:
    """A folder with migrations, a ledger and a configuration, on which runners work."""

    def __init__(self, root: Path, nursery: Nursery) -> None:
        self.root = root
        self._nursery = nursery
        self._numbers = 0
        self.migrations = root / "db" / "migrations"
        self.migrations.mkdir(parents=True)
        self.configure()

    def configure(self, *, more: str = "", **migrations: object) -> None:
        """Write ``lockgate.toml``: the given keys of ``[migrations]`` beside short patience, and ``more`` text."""
        keys = {"lock_timeout": "1s", "lock_retries": 3, "reconnect_seconds": 20, **migrations}
        lines = [f"{name} = {json.dumps(value)}" for name, value in keys.items()]
        (self.root / "lockgate.toml").write_text("[migrations]\n" + "\n".join(lines) + f"\n{more}")

    def write(self, *files: File) -> None:
        """Replace the migrations by ``files`` and write their ledger."""
        for old in self.migrations.iterdir():
            old.unlink()
        sums = {}
        for file in files:
            (self.migrations / file.file).write_text(file.sql)
            sums[file.file] = hashlib.sha256(file.sql.encode()).hexdigest()
        ledger = {"schemaVersion": "1", "algorithm": "sha256", "files": sums}
        (self.migrations / "checksums.json").write_bytes(msgspec.json.encode(ledger))

    def environment(self, url: str, fault: Mapping[str, object] | None = None, **more: str) -> dict[str, str]:
        """The environment of a runner on ``url``."""
        environment = {
            "PATH": os.environ.get("PATH", ""), "HOME": str(self.root), "LC_ALL": "C.UTF-8", "DATABASE_URL": url,
            "PYTHONPATH": os.pathsep.join(sys.path), **more,
        }  # fmt: skip
        if fault:
            environment["FAULT"] = json.dumps(fault)
        return environment

    def start(
        self,
        url: str,
        *arguments: str,
        fault: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
        format: str = "json",
        command: str = "up",
    ) -> Running:
        """Start ``lockgate up``, or another ``command``, on ``url``."""
        self._numbers += 1
        out, err = self.root / f"out-{self._numbers}", self.root / f"err-{self._numbers}"
        order = {
            "arguments": [command, "--format", format, *arguments], "environment": self.environment(url, fault, **(environment or {})),
            "directory": str(self.root), "out": str(out), "err": str(err),
        }  # fmt: skip
        return Running(self._nursery, self._nursery.start(order), out, err)

    def run(self, url: str, *arguments: str, seconds: float = SECONDS, **options: Any) -> Ended:
        """Run ``lockgate up`` on ``url`` to its end."""
        return self.start(url, *arguments, **options).wait(seconds)

    def points(self, url: str) -> list[str]:
        """The points that a run without a fault passes, by name and in order."""
        trace = self.root / "trace"
        trace.unlink(missing_ok=True)
        self.run(url, fault={"kind": "trace", "trace": str(trace)})
        return trace.read_text().splitlines()
