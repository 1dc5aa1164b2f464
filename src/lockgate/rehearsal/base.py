"""From where a rehearsal starts: the revision at which production stands, as a history without a database."""

from pathlib import Path

import msgspec

from lockgate.errors import ConfigError, Refused
from lockgate.migrations.files import Migration
from lockgate.migrations.history import History, Row
from lockgate.migrations.plan import Plan, resolve
from lockgate.record.reasons import Exit


class _Applied(msgspec.Struct, rename="camel"):
    revision: str
    checksum: str
    name: str = ""
    phase: str = "expand"
    state: str = "applied"


class _Status(msgspec.Struct, rename="camel"):
    command: str
    applied: list[_Applied]


def from_revision(migrations: tuple[Migration, ...], revision: str) -> Plan:
    """The plan when all files up to ``revision`` are applied; "" means none. Raises ``ConfigError`` for an unknown one."""
    if revision and not any(m.revision == revision for m in migrations):
        raise ConfigError(
            f"--from {revision[:40]}: no migration file has this revision",
            "USAGE",
            next="Give the 13 digits of a file name; lockgate status shows where a database stands.",
        )
    rows = tuple(Row(m.revision, m.checksum, m.name) for m in migrations if m.revision <= revision)
    return resolve(migrations, History(rows=rows))


def from_status(migrations: tuple[Migration, ...], file: Path) -> Plan:
    """The plan on top of what ``lockgate status --format json`` wrote into ``file``.

    Raises ``ConfigError`` when it is no such document, ``Refused`` when these files do not continue that history.
    """
    try:
        status = msgspec.json.decode(file.read_bytes(), type=_Status)
    except OSError as error:
        raise ConfigError(
            f"--from-status {file}: {error.strerror}", "USAGE", next="lockgate rehearse --help"
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--from-status {file}: not what `lockgate status --format json` prints: {error}",
            "USAGE",
            next=f"lockgate status --format json > {file}",
        ) from None
    if status.command != "status":
        raise ConfigError(
            f"--from-status {file}: this is the answer of `{status.command[:40]}`, not of `status`",
            "USAGE",
            next=f"lockgate status --format json > {file}",
        )
    plan = resolve(
        migrations, History(rows=tuple(Row(a.revision, a.checksum, a.name, a.phase, a.state) for a in status.applied))
    )  # fmt: skip
    if plan.obstacles:
        first = plan.obstacles[0]
        raise Refused(
            f"these files do not continue the history in {file}: {first.message}",
            first.code,
            exit=Exit.REFUSED,
            details={"obstacles": [msgspec.to_builtins(o) for o in plan.obstacles]},
        )
    return plan
