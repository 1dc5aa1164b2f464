"""``lockgate backup``."""

from typing import Any

import click

from lockgate.cli.options import Session, shared
from lockgate.record.words import counted, lasting


def _backups(session: Session, alarm: Any) -> Any:
    from lockgate.migrations.limits import Limits
    from lockgate.release.backups import Backups

    return Backups(session.target(), session.settings, Limits.of(session.settings.migrations), alarm)


def _fields(row: Any) -> dict[str, Any]:
    import msgspec

    plain: dict[str, Any] = msgspec.to_builtins(row)
    plain["detail"] = {k: v for k, v in plain["detail"].items() if k not in ("digests", "roles")}
    return plain


@click.group("backup")
def command() -> None:
    """Backups: taken before a release, verified, listed, drilled, and restored into a new place only."""


@command.command("take")
@shared()
@click.option(
    "--provider",
    type=click.Choice(["pg_dump", "pg_basebackup", "restore-point", "command"]),
    default=None,
    help="Default: that of lockgate.toml, else pg_dump.",
)
def take(provider: str | None, **shared_options: Any) -> None:
    """Take a backup, verify it, record both."""
    from lockgate.migrations.limits import Limits
    from lockgate.postgres.alarm import Alarm
    from lockgate.release.authorise import refuse_application_role
    from lockgate.release.backups import Backups
    from lockgate.release.desk import ensure_home

    refuse_application_role()
    session = Session(**shared_options)
    target = session.target()
    limits = Limits.of(session.settings.migrations)
    chosen = provider or session.settings.of(target.environment).backup.provider or "pg_dump"
    with Alarm() as alarm:
        ensure_home(target, session.settings, limits, alarm)
        row = Backups(target, session.settings, limits, alarm).take(chosen)
    session.output.json({"command": "backup take", "backup": _fields(row)})
    session.output.say(f"{session.output.mark(row.state, 'good')}  {row.backup_id}")
    session.output.say(
        f"  {row.provider} of {row.database}, {counted(row.size_bytes, 'byte')}, LSN {row.lsn}, timeline {row.timeline}, system {row.system_identifier}"
    )
    session.output.say(f"  {row.location}")
    if row.message:
        session.output.say(f"  {row.message}")


@command.command("list")
@shared()
def list_(**shared_options: Any) -> None:
    """The newest backups, with their age and what is known of them."""
    session = Session(**shared_options)
    rows = _backups(session, None).list()
    session.output.json({"command": "backup list", "backups": [_fields(r) for r in rows]})
    if not rows:
        session.output.say("no backups")
        return
    session.output.table(
        ("backup", "provider", "state", "age", "bytes", "drilled"),
        [
            (
                r.backup_id,
                r.provider,
                r.state,
                lasting(r.age_seconds),
                str(r.size_bytes),
                r.drilled_at or "never",
            )
            for r in rows
        ],
    )


@command.command("verify")
@shared()
@click.argument("backup_id", metavar="ID")
def verify(backup_id: str, **shared_options: Any) -> None:
    """Look at every byte of a backup again and record what was found. `latest` is the newest one."""
    from lockgate.postgres.alarm import Alarm
    from lockgate.release.authorise import refuse_application_role

    refuse_application_role()
    session = Session(**shared_options)
    with Alarm() as alarm:
        row = _backups(session, alarm).verify(backup_id)
    session.output.json({"command": "backup verify", "backup": _fields(row)})
    session.output.say(f"{session.output.mark('verified', 'good')}  {row.backup_id} by {row.verified_by}")


@command.command("restore")
@shared()
@click.argument("backup_id", metavar="ID")
@click.option(
    "--into",
    metavar="NAME",
    required=True,
    help="The new database on the same server; for pg_basebackup the new folder.",
)
def restore(backup_id: str, into: str, **shared_options: Any) -> None:
    """Restore a backup into a new database, never over one that exists, and compare every table."""
    from lockgate.postgres.alarm import Alarm
    from lockgate.release.authorise import refuse_application_role
    from lockgate.release.notify import notify
    from lockgate.release.restore import restore as act

    refuse_application_role()
    session = Session(**shared_options)
    with Alarm() as alarm:
        backups = _backups(session, alarm)
        restored = act(backups, backup_id, into)
    told = {"backupId": restored.backup_id, "into": restored.into, "environment": backups.target.environment}
    for problem in notify(backups.settings.notify, "restored", told):
        session.output.note(f"lockgate: not told: {problem}")
    _show(session, "backup restore", restored)


@command.command("drill")
@shared()
@click.argument("backup_id", metavar="[ID]", default="latest")
def drill(backup_id: str, **shared_options: Any) -> None:
    """Restore a backup on a throw-away server, compare counts and digests, and start the drill's clock."""
    from lockgate.postgres.alarm import Alarm
    from lockgate.release.authorise import refuse_application_role
    from lockgate.release.restore import drill as act

    refuse_application_role()
    session = Session(**shared_options)
    with Alarm() as alarm:
        restored = act(_backups(session, alarm), backup_id, session.settings.path(".lockgate"))
    _show(session, "backup drill", restored)


def _show(session: Session, name: str, restored: Any) -> None:
    import msgspec

    session.output.json(
        {"command": name, "restored": {**msgspec.to_builtins(restored), "equal": restored.equal}}
    )
    session.output.say(
        f"{session.output.mark('equal', 'good')}  {restored.backup_id} in {restored.into}: {counted(restored.tables, 'table')}, {counted(restored.rows, 'row')}, {restored.seconds:.1f} s"
    )
    for note in restored.notes:
        session.output.say(f"  {note}")
