"""Locks of others and our own: deadlocks, keys, sessions ended under us (rows 29, 38, 39)."""

import signal
from collections.abc import Callable

import psycopg
import pytest

from faults import invariants, look
from faults.drive import Project
from faults.look import (
    at_the_brake,
    brake,
    effects,
    execute,
    history,
    holding,
    run_states,
    session,
    value,
    waiting_for_lock,
)
from faults.relay import Line
from faults.shapes import SHAPES, File, Shape, braked, once, table
from lockgate.migrations.contract import prepare
from lockgate.migrations.files import Migration
from lockgate.postgres.guard import GUARD_KEY, WORK_KEY
from support.processes import until

SMALL = SHAPES["small"]
pytestmark = look.SERVERS


def _alter(number: int, *, header: str = "", first: str = "") -> Shape:
    """A file that needs an exclusive lock on ``orders``."""
    revision = f"17000000001{number:02d}"
    text = f"{header}{first}{once(revision)}\nALTER TABLE public.orders ADD COLUMN added_{number} text;\n"
    there = f"SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'public.orders'::regclass AND attname = 'added_{number}')"
    once_there = f"SELECT count(*) = 1 FROM public.effects WHERE revision = '{revision}'"
    return Shape("alter", (File(revision, "alter", text, (there, once_there)),))


def test_a_deadlock_is_tried_again(url: str, project: Project) -> None:
    """When the server breaks a deadlock at our cost, the whole file runs again and its effects are there once."""
    shape = _alter(
        5,
        header="-- lockgate: lock_timeout=30s\n",
        first="LOCK TABLE public.effects IN ACCESS EXCLUSIVE MODE;\n"
        + "SELECT pg_sleep(0.3) FROM public.brake;\n",
    )
    project.write(*shape.files)
    brake(url, 0.5)
    with holding(
        url, "SET deadlock_timeout = '30s'; LOCK TABLE public.orders IN ACCESS EXCLUSIVE MODE"
    ) as other:
        runner = project.start(url)
        waiting_for_lock(url)
        # The other session waits for what we hold; only our own check, a second later, can see the circle.
        other.execute("LOCK TABLE public.effects IN ACCESS EXCLUSIVE MODE")
    ended = runner.wait()
    assert "DEADLOCK" in ended.err, ended
    invariants.after_rerun(url, shape, ended)


def test_a_serialization_failure_is_tried_again(url: str, project: Project) -> None:
    """A serialization failure rolls the file back whole and it runs again, a bounded number of times."""
    revision = "1700000000106"
    conflict = f"""CREATE TABLE public.tried (id bigint);
DO $$ BEGIN
  IF (SELECT count(*) FROM public.brake) > 0 AND nextval('public.tries') < 3 THEN
    RAISE EXCEPTION 'could not serialize access' USING ERRCODE = '40001';
  END IF;
END $$;
{once(revision)}
"""
    shape = Shape("serialize", (File(revision, "serialize", conflict, (
        "SELECT to_regclass('public.tried') IS NOT NULL", f"SELECT count(*) = 1 FROM public.effects WHERE revision = '{revision}'")),))  # fmt: skip
    project.write(*shape.files)
    execute(url, "CREATE SEQUENCE public.tries")
    brake(url, 0)
    ended = project.run(url)
    assert ended.document["applied"][0]["attempts"] == 3
    invariants.after_rerun(url, shape, ended)


def test_another_tool_holds_our_key(url: str, project: Project) -> None:
    """A stranger that holds the very same advisory key is named by its application, and left alone; exit 75."""
    project.write(*SMALL.files)
    for key in (GUARD_KEY, WORK_KEY):
        with psycopg.connect(url, application_name="some other tool", autocommit=True) as other:
            other.execute("SELECT pg_advisory_lock(%s)", [key])
            refused = project.run(url, "--lock-wait", "0.2")
            assert (refused.code, refused.reason) == (75, "LOCK_BUSY")
            assert "some other tool" in refused.err
            assert refused.document["details"]["holder"]["application"] == "some other tool"
    with psycopg.connect(url, autocommit=True) as other:  # the same bits as two 32-bit keys are another lock
        high, low = GUARD_KEY >> 32, GUARD_KEY & 0xFFFFFFFF
        other.execute("SELECT pg_advisory_lock(%s, %s)", [high, low - (1 << 32) if low >> 31 else low])
        invariants.after_rerun(url, SMALL, project.run(url, "--lock-wait", "0.2"))
    assert len({GUARD_KEY, WORK_KEY}) == 2
    assert min(abs(GUARD_KEY), abs(WORK_KEY)) > 1 << 40, "small keys are what other tools pick"


@pytest.mark.parametrize(
    "statement",
    ["SELECT pg_advisory_unlock_all()", "SELECT pg_advisory_unlock(1)", "DISCARD ALL", "SET ROLE postgres",
     "DO $$ BEGIN PERFORM pg_advisory_unlock_all(); END $$", "SELECT pg_terminate_backend(1)", "SET session_replication_role = replica"],
)  # fmt: skip
def test_a_file_that_drops_our_lock_is_refused(statement: str) -> None:
    """What would drop our lock or our session's state is refused by reading the file, before any database is touched."""
    text = f"{statement};\n"
    _, problems = prepare(Migration("1700000000001", "x", "1700000000001_x.sql", "", text))
    assert problems, statement
    assert problems[0].id in ("FILE_SESSION_STATE", "FILE_FORBIDDEN")


def test_a_hidden_unlock_is_found_before_commit(url: str, project: Project) -> None:
    """A function that drops all advisory locks behind our back is found before the COMMIT: LOCK_LOST, nothing applied."""
    execute(
        url,
        "CREATE FUNCTION public.innocent() RETURNS void LANGUAGE sql AS 'SELECT pg_advisory_unlock_all()'",
    )
    shape = _alter(9, first="SELECT public.innocent();\n")
    project.write(*shape.files)
    ended = project.run(url)
    assert (ended.code, ended.reason) == (3, "LOCK_LOST"), ended
    assert (history(url), effects(url)) == ([], [])
    invariants.after_fault(url, shape, ended)
    execute(url, "CREATE OR REPLACE FUNCTION public.innocent() RETURNS void LANGUAGE sql AS 'SELECT NULL'")
    invariants.after_rerun(url, shape, project.run(url))


def test_the_guard_is_ended_under_us(url: str, project: Project) -> None:
    """When somebody ends the guard's session, the file in flight is not committed: LOCK_LOST, and the next run applies it."""
    shape = Shape("braked", (table(0, "before"), braked(1, "braked")))
    project.write(*shape.files)
    brake(url, 2)
    runner = project.start(url)
    at_the_brake(url)
    execute(url, "SELECT pg_terminate_backend(%s)", session(url, "guard"))
    look.release_brake(url)
    ended = runner.wait()
    assert (ended.code, ended.reason) == (3, "LOCK_LOST"), ended
    assert history(url) == [shape.files[0].revision]
    assert run_states(url) == ["failed"]
    invariants.after_fault(url, shape, ended)
    invariants.after_rerun(url, shape, project.run(url))


def test_the_work_session_is_ended_under_us(url: str, project: Project, line: Line) -> None:
    """When somebody ends the work session between statements and COMMIT, the file is rolled back and runs again."""
    project.write(*SMALL.files)
    runner = project.start(url, fault={"kind": "ask", "at": 1, "name": "file:received", "control": line.path})
    line.wait()
    execute(url, "SELECT pg_terminate_backend(%s)", session(url, "work"))
    line.answer()
    ended = runner.wait()
    assert "connection lost" in ended.err
    invariants.after_rerun(url, SMALL, ended)


def test_two_databases_do_not_wait_for_each_other(fresh: Callable[[], str], project: Project) -> None:
    """The locks are those of one database: a run in another one goes on while the first stands still."""
    shape = Shape("braked", (braked(3, "braked"),))
    project.write(*shape.files)
    first, second = fresh(), fresh()
    brake(first)
    runner = project.start(first)
    at_the_brake(first)
    assert project.run(second, "--lock-wait", "0").code == 0
    runner.signal(signal.SIGTERM)
    runner.wait()


def test_the_guard_stays_awake_while_it_waits(url: str, project: Project) -> None:
    """While it waits for the second lock the guard's session is kept busy, so that its own idle limit does not end it."""
    project.write(*SMALL.files)
    with psycopg.connect(url, application_name="an orphan", autocommit=True) as orphan:
        orphan.execute("SELECT pg_advisory_lock(%s)", [WORK_KEY])
        runner = project.start(url)
        until(lambda: "waiting" in runner.said())
        seen = "SELECT query_start::text FROM pg_stat_activity WHERE application_name LIKE 'lockgate/guard%%' AND datname = current_database()"
        first = value(url, seen.replace("%%", "%"))
        until(lambda: value(url, seen.replace("%%", "%")) != first, 5)
    invariants.after_rerun(url, SMALL, runner.wait())


def test_somebody_cancels_our_statement(url: str, project: Project) -> None:
    """A pg_cancel_backend by somebody else is not told as a time-out of ours, and rolls the file back."""
    shape = Shape("braked", (braked(2, "braked"),))
    project.write(*shape.files)
    brake(url)
    runner = project.start(url)
    execute(url, "SELECT pg_cancel_backend(%s)", at_the_brake(url))
    ended = runner.wait()
    assert (ended.code, ended.reason) == (3, "MIGRATION_EXECUTION_FAILED")
    assert ended.document["details"]["sqlstate"] == "57014"
    look.release_brake(url)
    invariants.after_rerun(url, shape, project.run(url))
