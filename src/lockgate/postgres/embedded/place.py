"""Where everything of one server lies, and whose it is.

<home>/pg18.lock          held while somebody launches or stops the server
<home>/pg18.json          only when the base lies elsewhere: where (see shelter.py)
<home>/pg18/              the base, mode 0700, owned by the account that runs the server
    server.json           to which home this belongs, and which process runs
    alive, keeper         locks
    data/                 the data directory
    run-<random>/         the unix socket
    postgres.log          and initdb.log
"""

# Plain os calls: descriptors, lstat, O_NOFOLLOW, and microseconds that count.
# ruff: noqa: PTH105, PTH108, PTH116, PTH120

import contextlib
import json
import os
import stat
from collections.abc import Mapping
from typing import Any, NamedTuple

SHELTERS = ("/var/lib/lockgate", "/var/cache/lockgate", "/var/tmp/lockgate")  # noqa: S108 - ownership is checked
"""Where root puts what the server's account cannot reach, the first that can be used."""


class Place(NamedTuple):
    """The paths of one server: ``home``, PostgreSQL's major ``version`` and the ``base`` of its files."""

    home: str
    version: int
    base: str

    @property
    def inside(self) -> str:
        """Where the base is unless a pointer says otherwise."""
        return f"{self.home}/pg{self.version}"

    @property
    def lock(self) -> str:
        """The launch lock. It lies in the home in every case: when it is gone, so is the home."""
        return f"{self.inside}.lock"

    @property
    def pointer(self) -> str:
        """The file that tells where the base is when it is not inside."""
        return f"{self.inside}.json"

    @property
    def record(self) -> str:
        """The file that tells to which home the base belongs and which process runs."""
        return f"{self.base}/server.json"

    @property
    def data(self) -> str:
        """The data directory."""
        return f"{self.base}/data"

    @property
    def log(self) -> str:
        """The server's log."""
        return f"{self.base}/postgres.log"

    @property
    def alive(self) -> str:
        """The lock that every process of the server holds."""
        return f"{self.base}/alive"

    @property
    def keeper(self) -> str:
        """The lock that the watching keeper holds."""
        return f"{self.base}/keeper"


class Identity(NamedTuple):
    """What tells one home from its copies: real path, device and inode."""

    path: str
    device: int
    inode: int

    def is_here(self, record: Mapping[str, Any]) -> bool:
        """Whether ``record`` was written for this very directory, whatever its path was then."""
        return (self.device, self.inode) == (record.get("device"), record.get("inode"))

    def is_same(self, record: Mapping[str, Any]) -> bool:
        """Whether ``record`` was written for this home: the same path, or the same directory moved."""
        return self.path == record.get("home") or self.is_here(record)


def identify(home: str) -> Identity:
    """The identity of the existing directory ``home``, a real path."""
    seen = os.stat(home)
    return Identity(home, seen.st_dev, seen.st_ino)


def locate(home: str, version: int) -> Place:
    """Where the server of ``home``, a real path, is; or would be, when there is none yet."""
    place = Place(home, version, "")
    pointed = read_json(place.pointer).get("base")
    return place._replace(
        base=pointed if isinstance(pointed, str) and pointed.startswith("/") else place.inside
    )


def is_private(path: str) -> bool:
    """Whether ``path`` is a real directory for its owner alone, and that is us or, for root, an account."""
    try:
        seen = os.lstat(path)
    except OSError:
        return False
    ours = seen.st_uid == os.geteuid() if os.geteuid() else seen.st_uid != 0
    return stat.S_ISDIR(seen.st_mode) and not seen.st_mode & 0o077 and ours


def read_json(path: str) -> dict[str, Any]:
    """The JSON object in the file ``path``; empty when it is missing, unreadable, broken or a symbolic link."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return {}
    with os.fdopen(fd, "rb") as file:
        try:
            value = json.loads(file.read(65536))
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}


def write_json(path: str, value: Mapping[str, Any]) -> None:
    """Write ``value`` to ``path``, the whole of it or nothing, also when the machine dies."""
    temporary = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):  # of a writer that was killed, or a trap
        os.unlink(temporary)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_directory(os.path.dirname(path))


def sync_directory(path: str) -> None:
    """Make the names in the directory ``path`` survive a crash of the machine."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
