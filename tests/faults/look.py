"""What tests see and do in a database while a runner works on it."""

import contextlib
import os
from collections.abc import Iterator

import psycopg
import pytest

from support.processes import until

SERVERS = pytest.mark.postgres(*os.environ.get("LOCKGATE_FAULTS_ON", "18").split(","))
"""The servers that the faults are tried on. One in ``make test``: what differs between versions is tested elsewhere."""
_STRICT = bool(os.environ.get("LOCKGATE_TESTS_STRICT"))  # read before the fixtures clear the environment


def needs(there: object, what: str) -> None:
    """Skip the test when the machine lacks ``what``; where nothing may be skipped, fail."""
    if not there:
        assert not _STRICT, f"{what} is missing here, and this machine promised to have everything"
        pytest.skip(f"{what} is missing here")


def execute(url: str, statement: str, *parameters: object) -> list[tuple[object, ...]]:
    """Run one statement in autocommit; its rows, if it has any."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement, parameters or None)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []


def value(url: str, statement: str, *parameters: object) -> object:
    """The first column of the first row; None without a row."""
    rows = execute(url, statement, *parameters)
    return rows[0][0] if rows else None


@contextlib.contextmanager
def holding(
    url: str, statement: str, application: str = "a long transaction"
) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A transaction that has run ``statement`` and stays open."""
    with psycopg.connect(url, application_name=application) as connection:
        connection.execute(statement)  # type: ignore[arg-type]
        yield connection
        if not connection.closed:
            connection.rollback()


def brake(url: str, seconds: float = 600.0) -> None:
    """From now on the statement at the brake takes that long."""
    execute(url, f"INSERT INTO public.brake VALUES ({seconds})")


def release_brake(url: str) -> None:
    """Whoever comes to the brake now goes through."""
    execute(url, "DELETE FROM public.brake")


def session(url: str, role: str, condition: str = "true") -> int | None:
    """The pid of the runner's session ``role`` (work, guard) that fits ``condition``; None when there is none."""
    found = value(
        url,
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        f" AND application_name LIKE 'lockgate/{role} %%' AND ({condition}) LIMIT 1".replace("%%", "%"),
    )
    return None if found is None else int(str(found))


def at_the_brake(url: str) -> int:
    """Wait until a runner stands at the brake; the pid of its work session."""
    return until(lambda: session(url, "work", "wait_event = 'PgSleep'")) or 0


def waiting_for_lock(url: str) -> int:
    """Wait until a runner's work session waits for a lock of somebody's; its pid."""
    return until(lambda: session(url, "work", "wait_event_type = 'Lock'")) or 0


def run_states(url: str) -> list[str]:
    """The states of all runs, oldest first."""
    return [str(row[0]) for row in execute(url, "SELECT state FROM lockgate.run ORDER BY started_at")]


def effects(url: str) -> list[str]:
    """The rows of the table ``effects``, one for each time that a migration ran to its end."""
    return sorted(str(row[0]) for row in execute(url, "SELECT revision FROM public.effects"))


def history(url: str) -> list[str]:
    """The revisions of the history in order; empty where lockgate never worked."""
    if value(url, "SELECT to_regclass('lockgate.migration_history') IS NOT NULL") is not True:
        return []
    return [
        str(row[0])
        for row in execute(url, "SELECT revision_id FROM lockgate.migration_history ORDER BY ordinal")
    ]
