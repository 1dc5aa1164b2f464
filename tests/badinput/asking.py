"""Questions to a database, and to the findings of a command."""

from typing import Any

import psycopg

from lockgate.config import Settings, load
from lockgate.migrations.limits import Limits
from lockgate.migrations.progress import Log
from lockgate.postgres.alarm import Alarm
from lockgate.postgres.target import Target
from lockgate.record.reasons import REASONS
from lockgate.release.operator import new_identity
from lockgate.release.project import Files
from lockgate.release.up import Run, RunReport
from support.calls import Answer, Project


def ask(url: str, question: str) -> list[tuple[Any, ...]]:
    """The rows that answer ``question``."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(question)
        return cursor.fetchall() if cursor.description else []


def made_nothing(url: str) -> bool:
    """Whether this database is as empty as it was made: no schema of ours, no object of anybody's."""
    return ask(
        url,
        "SELECT (SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema')"
        " + (SELECT count(*) FROM pg_namespace WHERE nspname = 'lockgate') + (SELECT count(*) FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname = 'public')",
    ) == [(0,)]


def state(url: str) -> list[tuple[Any, ...]]:
    """The history, the fence's head and the tables outside our schema: what a refused run must leave as it was."""
    return ask(
        url,
        "SELECT 'row', h::text FROM lockgate.migration_history h UNION ALL SELECT 'fence', head || ordinal || compat_floor FROM lockgate.fence"
        " UNION ALL SELECT 'table', c.oid::regclass::text FROM pg_class c WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1, 2",
    )


def findings(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The breaches of the file contract that `check` found, or with which another command refuses; the policy's own are left out."""
    found = document["findings"] if "findings" in document else document["details"]["findings"]
    return [finding for finding in found if finding["id"] in REASONS]


def told(answer: Answer) -> str:
    """Everything that a person or a program reads."""
    return answer.out + answer.err


def apply_here(project: Project, files: Files) -> RunReport:
    """`up` of these files as they were read, inside this process."""
    configured = (
        load(project.root / "lockgate.toml", {})
        if (project.root / "lockgate.toml").is_file()
        else Settings(root=project.root)
    )
    limits = Limits.of(configured.migrations)
    target = Target(project.environ["DATABASE_URL"], source="test")
    with Alarm() as alarm:
        return Run(
            target, files, configured, limits, new_identity("up"), Log(lambda _event: None), alarm
        ).up()
