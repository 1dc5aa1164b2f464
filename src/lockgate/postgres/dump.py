"""pg_dump's directory format: taken in parallel on one exported snapshot, verified, and restored into a new database."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from lockgate.errors import Refused, RunFailed
from lockgate.postgres.alarm import Alarm
from lockgate.postgres.child import Finished, run
from lockgate.postgres.digests import TableDigest, digests_here
from lockgate.postgres.programs import address, program
from lockgate.postgres.quoting import identifier
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Call, Wire


class Taken(msgspec.Struct, frozen=True):
    """What a dump holds: the position of the log at its snapshot, the digests of its rows, and the roles that it may name."""

    lsn: str
    digests: list[TableDigest]
    roles: list[str]
    program: str


_ROLES = "SELECT rolname FROM pg_catalog.pg_roles WHERE rolname NOT LIKE 'pg\\_%' ORDER BY 1"


def take_dump(
    wire: Wire,
    target: Target,
    folder: Path,
    *,
    version: int,
    jobs: int,
    seconds: float,
    max_megabytes: int,
    alarm: Alarm | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Taken:
    """Dump the database of ``target`` into ``folder``, which must not exist. ``version`` is the server's major.

    Counts and digests are read in the very snapshot that the dump is of. Raises ``RunFailed`` (``BACKUP_FAILED``).
    """
    pg_dump = program("pg_dump", version)
    deadline = clock() + seconds
    wire.batch([Call("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")])
    try:
        wire.batch(
            [
                Call("SET LOCAL idle_in_transaction_session_timeout = 0"),
                Call("SET LOCAL statement_timeout = 0"),
            ]
        )
        row = wire.one(
            "SELECT pg_catalog.pg_export_snapshot(), pg_catalog.pg_current_wal_lsn()::text", deadline=deadline
        ).rows[0]
        roles = [r[0] or "" for r in wire.one(_ROLES).rows]
        digests = digests_here(wire, max_megabytes, deadline)
        conninfo, environ = address(target)
        arguments = [
            str(pg_dump), "--format=directory", f"--jobs={jobs}", f"--snapshot={row[0]}", f"--file={folder}",
            "--lock-wait-timeout=60s", "--no-password", f"--dbname={conninfo}",
        ]  # fmt: skip
        done = run(arguments, seconds=max(1.0, deadline - clock()), environ=environ, alarm=alarm, clock=clock)
    except ServerError as error:
        raise RunFailed(
            f"the database could not be read for the backup: {error.message}", "BACKUP_FAILED"
        ) from None
    finally:
        if wire.alive:
            wire.batch([Call("ROLLBACK")], uncancellable=True)
    refuse_failure(done, "pg_dump")
    return Taken(row[1] or "", digests, roles, pg_dump.parent.parent.name + "/pg_dump")


def list_dump(folder: Path, version: int, seconds: float = 300.0) -> str:
    """Read the dump's table of contents with ``pg_restore --list``: "" when it reads well, else what is wrong."""
    done = run([str(program("pg_restore", version)), "--list", str(folder)], seconds=seconds)
    if not done.ok:
        return f"pg_restore --list: {done.told()}"
    return "" if "TABLE" in done.out or "SCHEMA" in done.out else "its table of contents is empty"


def create_database(wire: Wire, name: str) -> None:
    """Create the empty database ``name``. Raises ``Refused`` (``RESTORE_TARGET_EXISTS``) for one that is there."""
    if wire.value("SELECT 1 FROM pg_catalog.pg_database WHERE datname = $1", name):
        raise Refused(f"a database {name!r} is there already", "RESTORE_TARGET_EXISTS")
    try:
        wire.alone(f"CREATE DATABASE {identifier(name)} TEMPLATE template0")
    except ServerError as error:
        if error.sqlstate == "42501":
            raise Refused(
                f"the role may not create a database: {error.message}",
                "PRIVILEGE",
                next='ALTER ROLE "..." CREATEDB; or restore as another role with --database-url',
            ) from None
        raise RunFailed(f"CREATE DATABASE {name}: {error.message}", "RESTORE_FAILED") from None


def drop_database(wire: Wire, name: str) -> None:
    """Drop a database that we made and that did not become what it should."""
    wire.alone(f"DROP DATABASE IF EXISTS {identifier(name)} WITH (FORCE)")


def restore_dump(
    folder: Path,
    target: Target,
    database: str,
    *,
    version: int,
    jobs: int,
    seconds: float,
    owners: bool = True,
    alarm: Alarm | None = None,
) -> None:
    """Restore the dump into the empty ``database`` of the target's server; the first error ends it. ``BACKUP_FAILED``."""
    conninfo, environ = address(target, database)
    arguments = [
        str(program("pg_restore", version)), "--exit-on-error", f"--jobs={jobs}", "--no-password", f"--dbname={conninfo}",
    ]  # fmt: skip
    if not owners:
        arguments += ["--no-owner", "--no-privileges", "--no-tablespaces"]
    done = run([*arguments, str(folder)], seconds=seconds, environ=environ, alarm=alarm)
    refuse_failure(done, "pg_restore", "RESTORE_FAILED")


def refuse_failure(done: Finished, name: str, code: str = "BACKUP_FAILED") -> None:
    """Raise ``RunFailed`` when a program failed, was stopped, or ran too long."""
    if done.stopped == "signal":
        raise RunFailed(f"{name} was stopped by a signal", "CANCELLED")
    if done.stopped == "timeout":
        raise RunFailed(f"{name} did not end in {done.seconds:.0f} s and was stopped", code)
    if not done.ok:
        raise RunFailed(f"{name} ended with {done.code}: {done.told()}", code)


def remove(folder: Path) -> None:
    """Remove what a failed backup left."""
    shutil.rmtree(folder, ignore_errors=True)
