"""The server of the bench: the wheel's PostgreSQL with durable defaults on a TCP port of loopback, as all peers speak it."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg

from lockgate.postgres.embedded import wheel_binaries


class Server:
    """A private server for the time of the bench. Root hands it to `nobody`, as PostgreSQL refuses root."""

    def __enter__(self) -> "Server":
        self._home = Path(tempfile.mkdtemp(prefix="lockgate-bench-server-"))
        self._home.chmod(0o755)
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            account = pwd.getpwnam("nobody")
            os.chown(self._home, account.pw_uid, account.pw_gid)
            self._as = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        binaries = wheel_binaries(16)
        data = self._home / "data"
        subprocess.run(
            [
                str(binaries.bindir / "initdb"),
                "-D",
                str(data),
                "-U",
                "bench",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
            **self._as,
        )
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        command = [
            str(binaries.bindir / "postgres"),
            "-D",
            str(data),
            "-h",
            "127.0.0.1",
            "-p",
            str(self._port),
            "-k",
            "",
            "-c",
            "shared_buffers=256MB",
            "-c",
            "max_connections=50",
        ]
        self._log = (self._home / "log").open("wb")
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log, cwd="/", **self._as)
        self.version = binaries.version
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self._url("postgres")).close()
                return self
            except psycopg.OperationalError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.05)

    def _url(self, database: str) -> str:
        return f"postgresql://bench:bench@127.0.0.1:{self._port}/{database}"

    def processor_seconds(self) -> float:
        """The processor time of the server and all its sessions so far, ended ones too (Linux)."""
        return processor_seconds(self._process.pid)

    def fresh(self, name: str) -> str:
        """An empty database of that name, and its URL."""
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{name}"')
            connection.execute("CHECKPOINT")
        return self._url(name)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(60)
        self._log.close()
        shutil.rmtree(self._home, ignore_errors=True)


def processor_seconds(postmaster: int) -> float:
    """The processor time of the server whose first process that is, and of all its sessions so far, ended ones too (Linux)."""

    def fields(pid: int | str) -> list[int]:
        text = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
        return [int(f) for f in text.split()[11:15]]

    ticks = sum(fields(postmaster))  # of its own, and of children that it has waited for
    for child in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split():
        with suppress(FileNotFoundError, ProcessLookupError):
            ticks += sum(fields(child)[:2])
    return ticks / os.sysconf("SC_CLK_TCK")
