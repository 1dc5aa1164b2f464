"""On which server a rehearsal takes place: lockgate's own, that of another ``bindir``, or the one behind a scratch URL."""

import os
from collections.abc import Iterable
from pathlib import Path

from lockgate.config import Settings
from lockgate.errors import ConfigError, Refused
from lockgate.postgres.embedded import Binaries, Embedded
from lockgate.postgres.embedded.binaries import binaries_in
from lockgate.postgres.scratch import Ground
from lockgate.postgres.target import Target

HOME = ".lockgate/rehearsal"
"""The home of the scratch server, beside that of the project's embedded one: no database of the project is on it."""
IDLE_SECONDS = 300.0
_SETTINGS = {
    # Nothing on it outlives a crash, and nothing needs to.
    "fsync": "off",
    "synchronous_commit": "off",
    # What is measured is what the statement does, not what a background worker does at the same time.
    "autovacuum": "off",
    "max_connections": "60",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
}


def own_ground(settings: Settings, *, version: int | None = None, bindir: str | None = None) -> Ground:
    """A server of our own: the wheel's PostgreSQL ``version``, or the programs in ``bindir``; started when it does not run."""
    binaries: Binaries | None = None if bindir is None else binaries_in(Path(bindir))
    home = settings.path(HOME)
    home.parent.mkdir(exist_ok=True)
    server = Embedded.ensure(
        home,
        binaries=binaries,
        version=version or settings.embedded.version,
        idle_seconds=IDLE_SECONDS,
        settings=_SETTINGS,
    )
    ground = Ground(Target(server.url(), source="the scratch server"), ours=True)
    roles = settings.roles
    ground.make_roles((roles.owner, roles.migrator, roles.app, roles.reader))
    return ground


def foreign_ground(url: str, settings: Settings) -> Ground:
    """The server behind ``--scratch-url``.

    Raises ``Refused`` (``SCRATCH_REFUSED``) for a database that holds anything, or that the project knows as a target.
    """
    target = Target(url, source="--scratch-url")
    for name, known in _targets(settings):
        if _place(known) == _place(target):
            raise Refused(f"--scratch-url is the database of {name}", "SCRATCH_REFUSED")
    return Ground(target, ours=False)


def _targets(settings: Settings) -> Iterable[tuple[str, Target]]:
    """The databases that this project works on, as far as this process can know them."""
    variables = {"DATABASE_URL": "DATABASE_URL"}
    variables |= {environment.url_env: f"environment {name}" for name, environment in settings.env.items()}
    for variable, name in variables.items():
        value = os.environ.get(variable)
        if value:
            try:
                yield name, Target(value, source=name)
            except ConfigError:
                continue  # what is no URL is no target


def _place(target: Target) -> tuple[str, str, str]:
    p = target.parameters()
    host = p.get("hostaddr") or p.get("host", "")
    host = "localhost" if host in ("127.0.0.1", "::1", "") else host
    return host, p.get("port", "5432"), p.get("dbname") or p.get("user", "")
