"""Rehearsals inside this process: files as texts, on a ground that the test brings."""

import hashlib
from datetime import date

from lockgate.config import Migrations, Roles
from lockgate.migrations.contract import prepare
from lockgate.migrations.files import Migration
from lockgate.migrations.limits import Limits
from lockgate.policy.facts import Server
from lockgate.policy.subject import Options
from lockgate.postgres.alarm import Alarm
from lockgate.postgres.guard import RunIdentity
from lockgate.postgres.placeholders import queries_of
from lockgate.postgres.scratch import Ground
from lockgate.rehearsal.base import from_revision
from lockgate.rehearsal.queries import QuerySet
from lockgate.rehearsal.rehearse import Rehearsing, Wish
from lockgate.rehearsal.replay import Stage
from lockgate.rehearsal.report import Rehearsal

FIRST = 1_700_000_000_000


def migration(number: int, sql: str) -> Migration:
    """The file number ``number`` of a project."""
    revision = str(FIRST + number)
    digest = hashlib.sha256(sql.encode()).hexdigest()
    return Migration(revision, f"m{number}", f"{revision}_m{number}.sql", digest, sql)


def stage_of(alarm: Alarm, *files: str) -> Stage:
    """These files, prepared, with the limits of a fresh configuration."""
    migrations = tuple(migration(number, sql) for number, sql in enumerate(files))
    prepared = {}
    for one in migrations:
        item, problems = prepare(one)
        assert item is not None, problems
        prepared[one.revision] = item
    identity = RunIdentity("test", "rehearse", "tester")
    return Stage(migrations, prepared, Limits.of(Migrations()), alarm, identity)


def rehearsed(
    ground: Ground,
    alarm: Alarm,
    *files: str,
    base: int = 0,
    queries: str | dict[str, str] = "",
    rows: int = 20,
    listen: list[str] | None = None,
    roles: Roles | None = None,
    **more: object,
) -> Rehearsal:
    """Rehearse files of which the first ``base`` are applied already; ``queries`` are those of the release old, or of each by name."""
    stage = stage_of(alarm, *files)
    plan = from_revision(stage.migrations, str(FIRST + base - 1) if base else "")
    asked = queries if isinstance(queries, dict) else {"old": queries} if queries else {}
    releases = tuple(QuerySet(name, tuple(queries_of(text))) for name, text in asked.items())
    options = Options(server=Server(version=ground.version // 10000))
    wish = Wish(stage, plan, options, roles or Roles(), date(2026, 1, 1), releases, rows, **more)  # type: ignore[arg-type]
    heard = None if listen is None else lambda e: listen.append(f"{e.status} {e.detail}")
    return Rehearsing(ground, wish, heard).run()
