"""Projects, and runners on them: started, watched, hurt and waited for."""

import hashlib
import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from faults.shapes import File
from lockgate import migrations, postgres, record, release
from support.forked import LIBRARIES, Nursery, Process

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

    def __init__(self, process: Process, out: Path, err: Path) -> None:
        self.pid = process.pid
        self._process = process
        self._out = out
        self._err = err

    def signal(self, number: int) -> None:
        """Send it a signal; one that has ended gets none."""
        self._process.send_signal(number)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def said(self) -> str:
        """What it wrote so far, both streams."""
        return "".join(p.read_text("utf-8", "replace") for p in (self._out, self._err) if p.exists())

    def wait(self, seconds: float = SECONDS) -> Ended:
        """Wait for its end; one that does not end is killed and the test fails."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
            raise AssertionError(f"the runner still ran after {seconds} s:\n{self.said()}") from None
        return Ended(code, self._out.read_text("utf-8", "replace"), self._err.read_text("utf-8", "replace"))


def nursery() -> Nursery:
    """A process that forks runners, with the rooms imported too: what a runner imports is no part of these tests."""
    rooms = [
        module.name
        for room in (record, postgres, migrations, release)
        for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}.")
    ]
    return Nursery(*LIBRARIES, *rooms)


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
        with out.open("wb") as outward, err.open("wb") as errward:
            process = self._nursery.start(
                [str(PROGRAM), command, "--format", format, *arguments],
                cwd=self.root,
                env=self.environment(url, fault, **(environment or {})),
                stdout=outward.fileno(),
                stderr=errward.fileno(),
            )
        return Running(process, out, err)

    def run(self, url: str, *arguments: str, seconds: float = SECONDS, **options: Any) -> Ended:
        """Run ``lockgate up`` on ``url`` to its end."""
        return self.start(url, *arguments, **options).wait(seconds)

    def points(self, url: str) -> list[str]:
        """The points that a run without a fault passes, by name and in order."""
        trace = self.root / "trace"
        trace.unlink(missing_ok=True)
        self.run(url, fault={"kind": "trace", "trace": str(trace)})
        return trace.read_text().splitlines()
