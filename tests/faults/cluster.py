"""A PostgreSQL that a test may crash, starve and promote: started directly, so that its address outlives it."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psycopg

from lockgate.postgres.embedded import Embedded
from support import processes, servers


class Cluster:
    """One data directory and the server on it. Only its unix socket in ``sockets`` is open, always at the same path."""

    def __init__(self, directory: Path, bindir: Path, owner: os.stat_result) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.sockets = directory / "s"
        self.log = directory / "log"
        self.bindir = bindir
        self.owner = owner
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def like(cls, server: Embedded, directory: Path, session_directory: Path, label: str) -> "Cluster":
        """A fresh data directory of the kind that ``server`` has, with its programs and its account."""
        bindir = Path(f"/proc/{server.pid}/exe").readlink().parent
        template = servers.template_home(session_directory, label) / f"pg{server.version}" / "data"
        directory.mkdir(mode=0o755)
        cluster = cls(directory, bindir, template.stat())
        subprocess.run(["cp", "-a", "--reflink=auto", str(template), str(cluster.data)], check=True)
        cluster.make_directory(cluster.sockets)
        return cluster

    def make_directory(self, path: Path) -> None:
        """An empty directory that belongs to the server's account."""
        path.mkdir(mode=0o700, exist_ok=True)
        if os.getuid() == 0:
            os.chown(path, self.owner.st_uid, self.owner.st_gid)

    def command(self, program: str, *arguments: str, **options: object) -> subprocess.Popen[bytes]:
        """Start one of PostgreSQL's programs as the account of the data directory."""
        if os.getuid() == 0:
            options |= {"user": self.owner.st_uid, "group": self.owner.st_gid, "extra_groups": []}
        options.setdefault("cwd", self.directory)
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}
        return subprocess.Popen([str(self.bindir / program), *arguments], env=environment, **options)  # type: ignore[call-overload, no-any-return]

    def start(self, *, wait: bool = True, **settings: str) -> None:
        """Start the server with ``settings`` beside those of every test server."""
        chosen = {**servers.SETTINGS, "listen_addresses": "", "shared_buffers": "16MB", **settings}
        words = [word for name, value in chosen.items() for word in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            self._process = self.command(
                "postgres",
                "-D",
                str(self.data),
                "-k",
                str(self.sockets),
                "-p",
                "5432",
                *words,
                stdout=log,
                stderr=log,
            )
        if wait:
            self.wait()

    def wait(self, seconds: float = 60.0) -> None:
        """Wait until the server lets somebody in."""
        end = time.monotonic() + seconds
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=5).close()
            except psycopg.OperationalError:
                assert self.running, f"the server ended:\n{self.log.read_text()[-2000:]}"
                assert time.monotonic() < end, f"not ready:\n{self.log.read_text()[-2000:]}"
                time.sleep(0.01)
            else:
                return

    @property
    def running(self) -> bool:
        """Whether the postmaster lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        assert self._process is not None
        return self._process.pid

    def crash(self) -> None:
        """End the server at once, as a power cut would: no checkpoint, no goodbye."""
        self._end(signal.SIGQUIT)

    def kill(self) -> None:
        """End the postmaster and every process of it with SIGKILL, as a machine that runs out of memory does; nothing of it runs afterwards."""
        if self.running:
            os.kill(self.pid, signal.SIGSTOP)  # so that it starts no other while they are counted
            ours = [pid for pid in processes.living() if processes.parent(pid) == self.pid]
            for pid in (self.pid, *ours):
                os.kill(pid, signal.SIGKILL)
            self._end(signal.SIGKILL)
            for pid in ours:
                processes.until(lambda pid=pid: not processes.lives(pid), 60)

    def stop(self) -> None:
        """A fast shutdown: sessions are ended, everything is on disk."""
        self._end(signal.SIGINT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(number)
            self._process.wait(60)

    def remove(self) -> None:
        """End the server and delete everything."""
        self.crash()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def socket(self) -> str:
        """The path of the unix socket."""
        return str(self.sockets / ".s.PGSQL.5432")

    def url(self, dbname: str = "postgres", *, password: str = "") -> str:
        """The URL of ``dbname`` through the unix socket."""
        secret = f":{password}" if password else ""
        return f"postgresql://postgres{secret}@{str(self.sockets).replace('/', '%2F')}:5432/{dbname}"

    def execute(self, statement: str, dbname: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement as the superuser; its rows, if it has any."""
        with psycopg.connect(self.url(dbname), autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def standby(self, directory: Path, **settings: str) -> "Cluster":
        """A running streaming standby of this server, made by pg_basebackup."""
        directory.mkdir(mode=0o755)
        twin = Cluster(directory, self.bindir, self.owner)
        twin.make_directory(twin.sockets)
        twin.make_directory(twin.data)
        copy = self.command(
            "pg_basebackup", "-h", str(self.sockets), "-p", "5432", "-U", "postgres", "-D", str(twin.data),
            "-R", "-c", "fast", "-X", "stream", stderr=subprocess.PIPE,
        )  # fmt: skip
        _, error = copy.communicate(timeout=60)
        assert copy.returncode == 0, error
        twin.start(**settings)
        return twin
