"""down, baseline and repair when something happens to them: a signal, a failure in the middle, a long statement."""

import signal

from faults import look
from faults.drive import Project
from faults.look import at_the_brake, brake, execute, history, run_states, value
from faults.shapes import BRAKE, File, table
from support.processes import until

pytestmark = look.SERVERS
FIRST, SECOND = "1700000000081", "1700000000082"


def _with_down(revision: str, name: str, down: str) -> File:
    return File(
        revision, name, f"CREATE TABLE public.{name} (id bigint PRIMARY KEY);\n\n-- lockgate: down\n{down}\n",
        (f"SELECT to_regclass('public.{name}') IS NOT NULL",),
    )  # fmt: skip


def test_a_signal_while_down_runs(url: str, project: Project) -> None:
    """A signal cancels the statement of a down section: exit 143, file and history as before, the run recorded."""
    project.write(_with_down(FIRST, "undone", f"{BRAKE}\nDROP TABLE public.undone;"))
    assert project.run(url).code == 0
    brake(url)
    runner = project.start(url, command="down")
    at_the_brake(url)
    runner.signal(signal.SIGTERM)
    ended = runner.wait()
    assert (ended.code, ended.reason) == (143, "CANCELLED"), ended
    assert history(url) == [FIRST]
    assert value(url, "SELECT to_regclass('public.undone') IS NOT NULL")
    assert run_states(url)[-1] == "cancelled"


def test_down_fails_half_way(url: str, project: Project) -> None:
    """When the second of two files cannot be undone, the first stays undone and the report says which is which."""
    project.write(
        _with_down(FIRST, "kept", "SELECT 1 / 0;"), _with_down(SECOND, "undone", "DROP TABLE public.undone;")
    )
    assert project.run(url).code == 0
    ended = project.run(url, "--steps", "2", command="down")
    assert (ended.code, ended.reason) == (3, "MIGRATION_EXECUTION_FAILED"), ended
    assert ended.document["details"]["undone"] == [SECOND]
    assert history(url) == [FIRST]
    assert value(
        url, "SELECT to_regclass('public.undone') IS NULL AND to_regclass('public.kept') IS NOT NULL"
    )
    assert run_states(url)[-1] == "failed"


def test_a_long_down_keeps_its_guard(url: str, project: Project) -> None:
    """While a statement of a down section runs, the guard's heartbeat goes on, so its session does not count as dead."""
    project.write(_with_down(FIRST, "undone", f"{BRAKE}\nDROP TABLE public.undone;"))
    assert project.run(url).code == 0
    brake(url)
    runner = project.start(url, command="down")
    pid = at_the_brake(url)
    before = value(url, "SELECT max(heartbeat_at) FROM lockgate.run WHERE state = 'running'")
    until(
        lambda: value(url, f"SELECT max(heartbeat_at) > '{before}' FROM lockgate.run WHERE state = 'running'")
    )
    execute(url, "SELECT pg_cancel_backend(%s)", pid)
    ended = runner.wait()
    assert ended.code == 3, ended
    assert history(url) == [FIRST]


def test_a_signal_before_a_baseline_is_recorded(url: str, project: Project) -> None:
    """A baseline that is told to stop while it waits for a table of lockgate adopts nothing."""
    project.write(table(1, "small"))
    assert project.run(url).code == 0
    project.write(table(1, "small"), table(2, "first"))
    with look.holding(url, "LOCK TABLE lockgate.migration_history IN ACCESS EXCLUSIVE MODE"):
        runner = project.start(
            url, "--until", "1700000000002", "--reason", "adopted", "--actor", "ana", command="baseline"
        )
        look.waiting_for_lock(url)
        runner.signal(signal.SIGTERM)
        ended = runner.wait()
    assert (ended.code, ended.reason) == (143, "CANCELLED"), ended
    assert history(url) == ["1700000000001"]
