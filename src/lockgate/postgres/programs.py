"""PostgreSQL's own programs (pg_dump and the like): where they are, and how they are told a target without its password."""

import shutil
from pathlib import Path

from psycopg import conninfo

from lockgate.errors import ConfigError, LockgateError
from lockgate.postgres.embedded import machine_binaries, wheel_binaries
from lockgate.postgres.target import Target


def program(name: str, version: int) -> Path:
    """The program ``name`` that fits a server of major ``version``: the oldest that is not older than the server.

    A newer pg_dump writes what an older server cannot restore, an older one refuses a newer server. Looked for in the wheel,
    on the machine, then on PATH. Raises ``LockgateError`` (``PROGRAM_MISSING``).
    """
    found: list[tuple[int, Path]] = []
    for major in (16, 18):
        try:
            binaries = wheel_binaries(major)
        except LockgateError:
            continue
        found.append((major, binaries.bindir / name))
    found += [(b.version, b.bindir / name) for b in machine_binaries()]
    fitting = sorted((major, path) for major, path in found if major >= version and path.is_file())
    if fitting:
        return fitting[0][1]
    on_path = shutil.which(name)
    if on_path:
        return Path(on_path)
    raise LockgateError(
        f"{name} for PostgreSQL {version} is neither in the wheel, nor on this machine, nor on PATH",
        "PROGRAM_MISSING",
    )


def address(target: Target, database: str | None = None) -> tuple[str, dict[str, str]]:
    """(connection string without secrets, environment that holds them) for a child; ``database`` instead of the target's."""
    parameters = target.parameters()
    hidden = {"PGAPPNAME": "lockgate/backup"}
    password = parameters.pop("password", None)
    if password is not None:
        hidden |= {"PGPASSWORD": password}
    if parameters.pop("sslpassword", None) is not None:
        raise ConfigError(
            "the sslpassword of the URL cannot be handed to PostgreSQL's programs without showing it",
            next="Use a client key without a password, readable by this user only.",
        )
    if database is not None:
        parameters["dbname"] = database
    return conninfo.make_conninfo("", **parameters), hidden
