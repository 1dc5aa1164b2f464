"""The runner dies by kill -9, at every moment that matters (rows 1 to 7)."""

import signal
from collections.abc import Callable

import psycopg
import pytest

from faults import conftest, invariants, look
from faults.cluster import Cluster
from faults.drive import Project
from faults.look import at_the_brake, brake, effects, execute, history, holding, run_states, session, value
from faults.relay import Line, Relay
from faults.shapes import SHAPES, Shape, braked
from support.processes import until

SMALL = SHAPES["small"]
CONCURRENT = SHAPES["concurrent"]
REBUILD = SHAPES["rebuild and detach"]
BRAKED = Shape("braked", (braked(70, "braked"),))
pytestmark = look.SERVERS


def test_killed_before_the_lock(url: str, project: Project) -> None:
    """kill -9 before any lock is taken leaves a database that nobody touched, and the next run is a normal one."""
    project.write(*SMALL.files)
    hurt = project.run(url, fault={"kind": "kill", "at": 1, "name": "guard"})
    assert hurt.code == -signal.SIGKILL
    assert value(url, "SELECT to_regnamespace('lockgate')") is None
    invariants.after_rerun(url, SMALL, project.run(url))


def test_killed_while_it_holds_the_lock(url: str, project: Project) -> None:
    """kill -9 with both locks in hand frees them at once; the next run takes over and marks the dead one abandoned."""
    project.write(*SMALL.files)
    assert project.run(url, fault={"kind": "kill", "at": 1, "name": "epoch:received"}).code == -signal.SIGKILL
    assert run_states(url) == ["running"]
    again = project.run(url, "--lock-wait", "10")
    assert "was abandoned" in again.err
    assert run_states(url) == ["abandoned", "succeeded"]
    invariants.after_rerun(url, SMALL, again)


def test_killed_after_its_last_commit(url: str, project: Project) -> None:
    """A run killed after its last COMMIT is not shown as running for ever, although nothing is left to apply."""
    project.write(*SMALL.files)
    project.run(url, fault={"kind": "kill", "at": 1, "name": "finish:send"})
    assert (history(url), run_states(url)) == ([SMALL.files[0].revision], ["running"])
    again = project.run(url)
    assert (again.code, again.applied, run_states(url)) == (0, [], ["abandoned"])
    assert execute(url, "SELECT lockgate.gate_v1() -> 'running'") == [(None,)]


def test_killed_in_the_middle_of_a_statement(url: str, project: Project) -> None:
    """The server ends an orphaned statement within seconds and rolls its file back; no history row is left."""
    project.write(*BRAKED.files)
    brake(url)
    runner = project.start(url)
    at_the_brake(url)
    runner.signal(signal.SIGKILL)
    hurt = runner.wait()
    until(lambda: session(url, "work") is None, 10)
    assert (history(url), effects(url)) == ([], [])
    invariants.after_fault(url, BRAKED, hurt)
    look.release_brake(url)
    invariants.after_rerun(url, BRAKED, project.run(url))


def test_killed_before_the_history_row(url: str, project: Project) -> None:
    """kill -9 after the last statement and before COMMIT rolls back effects and history row together."""
    project.write(*SMALL.files)
    hurt = project.run(url, fault={"kind": "kill", "at": 1, "name": "file:received"})
    invariants.after_fault(url, SMALL, hurt)
    assert (history(url), effects(url)) == ([], [])
    invariants.after_rerun(url, SMALL, project.run(url))


def test_killed_after_commit_was_sent(
    fresh: Callable[[], str], project: Project, relay: Relay, line: Line
) -> None:
    """kill -9 while COMMIT is under way: the file is applied, and the next run sees that and does nothing."""
    project.write(*SMALL.files)
    url = fresh()
    runner = project.start(
        relay.url(url.rsplit("/", 1)[1]),
        fault={"kind": "ask", "at": 1, "name": "commit:send", "control": line.path},
    )
    line.wait()
    relay.cut_on_answer()
    line.answer()
    assert relay.answers.wait(20)
    runner.signal(signal.SIGKILL)
    runner.wait()
    assert history(url) == [SMALL.files[0].revision]
    again = project.run(url)
    assert again.applied == []
    invariants.after_rerun(url, SMALL, again)


def test_killed_between_two_journalled_statements(url: str, project: Project) -> None:
    """A non-transactional file goes on at the statement after the last one that its journal shows as done."""
    project.write(*CONCURRENT.files)
    project.run(url, fault={"kind": "kill", "at": 1, "name": "commit:received"})
    steps = "SELECT number, state, attempts FROM lockgate.migration_step ORDER BY 1"
    assert execute(url, steps) == [(1, "done", 1), (2, "done", 1)]
    again = project.run(url)
    assert "2 of 3 statements done" in again.err
    assert execute(url, steps) == [(1, "done", 1), (2, "done", 1), (3, "done", 1)]
    invariants.after_rerun(url, CONCURRENT, again)


def test_a_done_statement_was_edited(url: str, project: Project) -> None:
    """A half-done file whose finished statement was edited meanwhile is refused as PARTIAL, again and again."""
    project.write(*CONCURRENT.files)
    project.run(url, fault={"kind": "kill", "at": 1, "name": "commit:received"})
    file = CONCURRENT.files[0]
    project.write(file._replace(sql=file.sql.replace("(customer)", "(note)")))
    for _ in range(2):
        refused = project.run(url)
        assert (refused.code, refused.reason) == (3, "PARTIAL")
        assert "lockgate up" in refused.document["next"]


def test_killed_while_it_builds_an_index(url: str, project: Project) -> None:
    """A half-built index is found by the next run, dropped because it is of the file's definition, and built anew."""
    project.write(*CONCURRENT.files)
    invalid = _leave_half_built_index(url, project)
    assert invalid == ["orders_customer"]
    again = project.run(url)
    assert "healing" in again.err
    invariants.after_rerun(url, CONCURRENT, again)


def test_an_index_of_somebody_else_is_in_the_way(url: str, project: Project) -> None:
    """An invalid index of another definition is not ours to drop: refused with the statement that would do it."""
    project.write(*CONCURRENT.files)
    with pytest.raises(psycopg.errors.UniqueViolation):
        execute(url, "CREATE UNIQUE INDEX CONCURRENTLY orders_customer ON public.orders (customer)")
    for _ in range(2):
        refused = project.run(url)
        assert (refused.code, refused.reason) == (3, "INVALID_INDEX")
        assert refused.document["next"].startswith("DROP INDEX CONCURRENTLY orders_customer;")
    execute(url, "DROP INDEX CONCURRENTLY orders_customer")
    invariants.after_rerun(url, CONCURRENT, project.run(url))


def test_killed_while_it_drops_an_index(url: str, project: Project) -> None:
    """An index that was being dropped and is only half gone is dropped by the next run."""
    project.write(*CONCURRENT.files)
    with holding(url, "SELECT count(*) FROM public.orders"):
        runner = project.start(url)
        until(lambda: session(url, "work", "wait_event_type = 'Lock' AND query LIKE 'DROP INDEX%'"))
        runner.signal(signal.SIGKILL)
        runner.wait()
        until(lambda: session(url, "work") is None, 10)
    assert invariants.invalid_indexes(url) == ["orders_old"]
    invariants.after_rerun(url, CONCURRENT, project.run(url))


def test_killed_while_it_rebuilds_an_index(url: str, project: Project) -> None:
    """What a REINDEX CONCURRENTLY leaves when it is cut off is found by its name and dropped before it runs again."""
    project.write(*REBUILD.files)
    with holding(url, "INSERT INTO public.orders VALUES (1000, 1)"):
        runner = project.start(url)
        look.waiting_for_lock(url)
        runner.signal(signal.SIGKILL)
        runner.wait()
        until(lambda: session(url, "work") is None, 10)
    assert invariants.invalid_indexes(url) == ["orders_pkey_ccnew"]
    again = project.run(url)
    assert "healing" in again.err
    invariants.after_rerun(url, REBUILD, again)


def test_killed_while_it_detaches_a_partition(url: str, project: Project) -> None:
    """A partition that is half detached is finished by the next run, not detached again."""
    project.write(*REBUILD.files)
    with holding(url, "SELECT count(*) FROM public.events"):
        runner = project.start(url)
        pending = "SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = 'public.events_1'::regclass"
        # It waits more than once; only behind its first commit the partition is half detached.
        until(lambda: value(url, pending) is True)
        runner.signal(signal.SIGKILL)
        runner.wait()
        until(lambda: session(url, "work") is None, 10)
    assert value(url, pending) is True
    again = project.run(url)
    assert "FINALIZE" in again.err
    invariants.after_rerun(url, REBUILD, again)


def test_killed_while_it_makes_its_own_tables(mortal: Cluster, project: Project) -> None:
    """lockgate's tables and the grants on them are made in one transaction, so no kill leaves one without the other."""
    for kind, at in (("kill", 1), ("kill", 2)):
        conftest.drop(mortal.url(), "grants")
        conftest.create(mortal.url(), "grants")
        url = conftest.with_canary(mortal.url("grants"))
        if not value(url, "SELECT 1 FROM pg_roles WHERE rolname = 'some_app'"):
            execute(url, "CREATE ROLE some_app")
        project.configure(more='[roles]\napp = "some_app"\n')
        project.write(*SMALL.files)
        for point in ("alone:send", "alone:received"):
            project.run(url, fault={"kind": kind, "at": at, "name": point})
        invariants.after_rerun(url, SMALL, project.run(url))
        assert value(url, "SELECT has_table_privilege('some_app', 'lockgate.instance', 'INSERT')") is True
        assert value(url, "SELECT has_schema_privilege('some_app', 'lockgate', 'USAGE')") is True


def _leave_half_built_index(url: str, project: Project) -> list[str]:
    with holding(url, "INSERT INTO public.orders VALUES (1000, 1)"):
        runner = project.start(url)
        look.waiting_for_lock(url)
        runner.signal(signal.SIGKILL)
        runner.wait()
        until(lambda: session(url, "work") is None, 10)
    return invariants.invalid_indexes(url)
