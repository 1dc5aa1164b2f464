"""The data directory and the programs that work on it: made whole or not at all, configured at each start."""

# Plain os calls: descriptors, lstat, O_NOFOLLOW, and microseconds that count.
# ruff: noqa: PTH104, PTH105, PTH116, PTH123

import contextlib
import locale
import os
import re
import shutil
import sys
import time
from collections.abc import Mapping

from lockgate.postgres.embedded.failure import LaunchError
from lockgate.postgres.embedded.place import Place, sync_directory
from lockgate.postgres.embedded.postmaster import read_pidfile

# Users' data: fsync, full_page_writes and synchronous_commit stay on, as PostgreSQL has them.
_SETTINGS = {
    "shared_buffers": "32MB",
    "cluster_name": "lockgate",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",
    "lc_messages": "C",
    # Files in the data directory: /dev/shm is small in containers, and keeps what a killed server left there.
    "dynamic_shared_memory_type": "mmap",
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?")
_CONF = "lockgate.conf"
_HBA = (
    "# There is nothing but the unix socket, in a directory for one account alone.\n"
    "local all all trust\nlocal replication all trust\n"
)
_LOG_LIMIT = 4 * 1024 * 1024


def initialise(place: Place, bindir: str, settings: Mapping[str, str], keep: list[int]) -> None:
    """Make the data directory aside and rename it in: a kill at any moment leaves no half of it.

    The descriptors ``keep`` (the lock ``alive``) are handed to initdb, so that nobody starts anew while the
    initdb of a killed keeper still writes. Raises LaunchError with the end of initdb's log.
    """
    fresh = f"{place.base}/data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    durable = settings.get("fsync", "on").lower() not in ("off", "false", "no", "0")
    command = [f"{bindir}/initdb", "-D", fresh, "-U", "postgres", "-A", "trust", "-E", "UTF8"]
    command += ["--data-checksums", "--no-instructions", *_locale(place.version)]
    if not durable:
        command.append("--no-sync")
    elif place.version >= 17 and sys.platform == "linux":
        command.append("--sync-method=syncfs")  # one call instead of a thousand
    log = f"{place.base}/initdb.log"
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    status = os.waitstatus_to_exitcode(os.waitpid(_start(command, output, keep), 0)[1])
    os.close(output)
    if status != 0:
        raise LaunchError(f"initdb ended with status {status}.", log=log, tail=tail(log))
    _write(f"{fresh}/pg_hba.conf", "w", _HBA)
    _write(f"{fresh}/postgresql.conf", "a", f"\ninclude_if_exists = '{_CONF}'\n")
    os.rename(fresh, place.data)
    sync_directory(place.base)


def configuration(settings: Mapping[str, str]) -> str:
    """The text of our part of postgresql.conf; ``settings`` win over the defaults.

    Raises LaunchError for what is no setting at all; PostgreSQL itself judges names and values.
    """
    lines = ["# Written by lockgate at every start; ALTER SYSTEM wins over it."]
    for name, value in {**_SETTINGS, **settings}.items():
        if not _NAME.fullmatch(name) or "\n" in value or "\0" in value:
            raise LaunchError(
                f"{name!r} = {value!r} is not a setting of PostgreSQL.", advice="Mend the setting."
            )
        quoted = value.replace("\\", "\\\\").replace("'", "''")
        lines.append(f"{name} = '{quoted}'")
    return "\n".join(lines) + "\n"


def configure(place: Place, text: str) -> None:
    """Put our part of postgresql.conf into the data directory."""
    _write(f"{place.data}/{_CONF}.new", "w", text)
    os.replace(f"{place.data}/{_CONF}.new", f"{place.data}/{_CONF}")


def open_log(place: Place) -> tuple[int, int]:
    """Open the server's log for appending: the descriptor, and where in bytes this start begins in it."""
    with contextlib.suppress(FileNotFoundError):
        if os.stat(place.log).st_size > _LOG_LIMIT:
            os.replace(place.log, f"{place.log}.1")
    fd = os.open(place.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    return fd, os.fstat(fd).st_size


def start_server(place: Place, bindir: str, sockets: str, log: int, keep: list[int]) -> int:
    """Start PostgreSQL and return its process id at once; only its unix socket in ``sockets`` is open.

    What keeps others out stands on the command line, where ALTER SYSTEM cannot change it.
    """
    # A list to PostgreSQL: quoted, because signs and spaces in the path could part it.
    listed = '"' + sockets.replace('"', '""') + '"'
    command = [f"{bindir}/postgres", "-D", place.data, "-k", listed, "-p", "5432"]
    for setting in (
        "listen_addresses=",
        "unix_socket_permissions=0700",
        f"hba_file={place.data}/pg_hba.conf",
    ):
        command += ["-c", setting]
    return _start(command, log, keep)


def wait_until_ready(place: Place, pid: int, log_start: int) -> None:
    """Wait until the server ``pid`` accepts connections, however long its recovery takes.

    Raises LaunchError with the log since byte ``log_start`` when it ends instead.
    """
    while True:
        seen = read_pidfile(place.data)
        if seen and seen.pid == pid and seen.ready:
            return
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            raise LaunchError(
                f"PostgreSQL {place.version} ended with status {os.waitstatus_to_exitcode(status)} while it started.",
                log=place.log,
                tail=tail(place.log, log_start),
            )
        time.sleep(0.003)


def tail(path: str, offset: int = 0, lines: int = 20) -> list[str]:
    """The last ``lines`` lines of the file ``path``, none of them from before byte ``offset``."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(offset, size - 65536))
            return file.read().decode("utf-8", "replace").splitlines()[-lines:]
    except OSError:
        return []


def _start(command: list[str], output: int, keep: list[int]) -> int:
    """Start ``command`` in a session of its own, with the descriptors ``keep`` open, and return its process id."""
    child = os.fork()  # this process has one thread
    if child:
        return child
    try:
        os.setsid()
        os.dup2(output, 1)
        os.dup2(output, 2)
        for fd in keep:
            os.set_inheritable(fd, True)
        os.execv(command[0], command)  # noqa: S606 - no shell on purpose
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def _write(path: str, mode: str, text: str) -> None:
    with open(path, mode, encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _locale(version: int) -> list[str]:
    """UTF-8 without a language: the same order of text on every machine. PostgreSQL 17 brings its own."""
    libc = "C.UTF-8"
    try:
        locale.setlocale(locale.LC_CTYPE, libc)
    except locale.Error:
        libc = "C"
    if version >= 17:
        return [f"--locale={libc}", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return [f"--locale={libc}"]
