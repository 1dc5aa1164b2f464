"""The embedded server as the rest of lockgate sees it."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from lockgate.errors import LockgateError
from lockgate.postgres.embedded import locks, signals, spawn
from lockgate.postgres.embedded.binaries import Binaries, wheel_binaries
from lockgate.postgres.embedded.look import Seen, look, look_and_use, versions
from lockgate.postgres.embedded.place import SHELTERS
from lockgate.postgres.embedded.postmaster import birth, is_server

LAUNCH_SECONDS = 90.0
_SAFE = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")


class Embedded:
    """A running PostgreSQL of one project. Made by ``ensure`` and ``find`` only; it holds nothing open."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self.pid: int = seen.pid
        """The server's process id."""
        self.version: int = seen.place.version
        """PostgreSQL's major version."""
        self.data: Path = Path(seen.place.data)
        """The data directory; everything of the server lies in its parent."""
        self.log: Path = Path(seen.place.log)
        """The server's log file."""
        self.sockets: Path = Path(seen.sockets)
        """The directory of its unix socket, for programs that want host and port (5432) apart."""

    @classmethod
    def ensure(
        cls,
        home: Path,
        *,
        binaries: Binaries | None = None,
        version: int = 18,
        idle_seconds: float = 900,
        settings: Mapping[str, str] | None = None,
        launch_seconds: float = LAUNCH_SECONDS,
    ) -> "Embedded":
        """The server of ``home``, started when it does not run.

        ``home`` is made when missing; its parent must exist. Each major version has data of its own.
        ``binaries`` decide the version; without them the wheel's PostgreSQL ``version`` is taken. The server
        stops by itself after ``idle_seconds`` without a client. ``idle_seconds`` and ``settings`` (names and
        values of postgresql.conf) count when the server is started; one that runs is left as it is. A server that has
        much to recover may need more than the usual ``launch_seconds``.
        Raises LockgateError (``EMBEDDED``) with the end of the server's log.
        """
        version = binaries.version if binaries else version
        real = os.path.realpath(home)
        if seen := look_and_use(real, version, kept=True):
            return cls(seen)
        parent = Path(real).parent
        if not parent.is_dir():
            raise LockgateError(f"{parent} is not a directory.", "EMBEDDED", next=f"mkdir -p {parent}")
        if "\n" in real:
            raise LockgateError(
                f"PostgreSQL cannot live in {real!r}: a line break in its path.",
                "EMBEDDED",
                next="Rename the folder.",
            )
        order = {
            "home": real,
            "version": version,
            "bindir": str((binaries or wheel_binaries(version)).bindir),
            "idle_seconds": idle_seconds,
            "settings": {str(name): str(value) for name, value in (settings or {}).items()},
            "sudo_uid": os.environ.get("SUDO_UID", ""),
            "shelters": SHELTERS,
        }
        end = time.monotonic() + launch_seconds
        while True:
            spawn.ask_keeper(order, max(1.0, end - time.monotonic()))
            if seen := look_and_use(real, version, kept=False):
                return cls(seen)
            if time.monotonic() > end:  # somebody stops it again and again
                raise LockgateError(f"The server of {real} was stopped while it was handed out.", "EMBEDDED")

    @classmethod
    def find(cls, home: Path, version: int | None = None) -> "Embedded | None":
        """The running server of ``home``, of that major version or else the newest; None when none runs."""
        real = os.path.realpath(home)
        for one in [version] if version else versions(real):
            if seen := look(real, one):
                return cls(seen)
        return None

    @classmethod
    def running(cls, home: Path) -> "tuple[Embedded, ...]":
        """Every running server of ``home``, the newest major version first."""
        real = os.path.realpath(home)
        return tuple(cls(seen) for one in versions(real) if (seen := look(real, one)))

    def url(self, dbname: str = "postgres") -> str:
        """The libpq URL of database ``dbname``, as user ``postgres`` through the unix socket."""
        return f"postgresql://postgres@{_quote(str(self.sockets))}:5432/{_quote(dbname)}"

    def stop(self, mode: Literal["fast", "immediate", "smart"] = "fast", seconds: float = 60.0) -> None:
        """Stop the server and wait until all its processes have ended; one that has ended already is no error.

        ``fast`` ends the sessions, ``smart`` waits for them, ``immediate`` is a crash. Raises LockgateError
        (``EMBEDDED``) when it still runs after ``seconds``, or is where it cannot be told from another process.
        """
        place, end = self._seen.place, time.monotonic() + seconds
        # Verified anew: much may have happened since this server was looked at.
        if is_server(self.pid, self._seen.born, place.data) and signals.send(self.pid, self._seen.born, mode):
            while birth(self.pid) == self._seen.born:
                if time.monotonic() > end:
                    raise LockgateError(
                        f"The server (pid {self.pid}) still runs {seconds:.0f} s after a {mode} stop.",
                        "EMBEDDED",
                        state="It accepts no new session and waits for the open ones.",
                        next="Close the sessions, or stop it with mode 'fast'.",
                    )
                time.sleep(0.005)
            locks.wait_until_free(place.alive, max(1.0, end - time.monotonic()))
        elif birth(self.pid) == self._seen.born:
            raise LockgateError(
                f"The process {self.pid} was not stopped: {place.data} is gone, so nothing shows that it is its server.",
                "EMBEDDED",
                next="If the folder was moved, stop the server of the new place; if it was deleted, wait a second.",
            )
        locks.wait_until_free(place.keeper, 5.0)

    def __repr__(self) -> str:
        return f"<Embedded PostgreSQL {self.version} pid {self.pid} of {self._seen.place.home}>"


def _quote(text: str) -> str:
    """Percent-encode ``text`` for a URL; urllib.parse would cost more than all the rest of the fast path."""
    return "".join(chr(byte) if byte in _SAFE else f"%{byte:02X}" for byte in os.fsencode(text))
