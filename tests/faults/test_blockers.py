"""Who blocks us and whom we block: named, bounded, cancelled in time (rows 34 to 37)."""

import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import psycopg

from faults import conftest, invariants, look
from faults.cluster import Cluster
from faults.drive import Project
from faults.look import (
    effects,
    execute,
    holding,
    value,
    waiting_for_lock,
)
from faults.shapes import SHAPES, File, Shape, once
from lockgate.postgres.alarm import Alarm, Cause
from support.processes import until

pytestmark = look.SERVERS


def _alter(number: int, *, header: str = "", first: str = "") -> Shape:
    """A file that needs an exclusive lock on ``orders``."""
    revision = f"17000000001{number:02d}"
    text = f"{header}{first}{once(revision)}\nALTER TABLE public.orders ADD COLUMN added_{number} text;\n"
    there = f"SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'public.orders'::regclass AND attname = 'added_{number}')"
    once_there = f"SELECT count(*) = 1 FROM public.effects WHERE revision = '{revision}'"
    return Shape("alter", (File(revision, "alter", text, (there, once_there)),))


def test_a_long_transaction_blocks_us(url: str, project: Project) -> None:
    """A lock that is not granted is asked for again a bounded number of times; then LOCK_TIMEOUT names who holds it."""
    shape = _alter(0)
    project.configure(lock_timeout="1s", lock_retries=1)
    project.write(*shape.files)
    with holding(url, "SELECT count(*) FROM public.orders", "nightly report") as other:
        blocker = other.info.backend_pid
        ended = project.run(url)
    assert (ended.code, ended.reason) == (3, "LOCK_TIMEOUT"), ended
    assert "attempt 1 of 2" in ended.err
    details = ended.document["details"]
    assert details["attempts"] == 2
    assert "public.orders" in details["waitsFor"] or "orders" in details["waitsFor"]
    first = details["blockers"][0]
    assert (first["pid"], first["application"], first["depth"]) == (blocker, "nightly report", 1)
    assert (first["state"], first["age"] >= 0) == ("idle in transaction", True)
    assert f"pid {blocker} (nightly report), idle in transaction, transaction open for" in ended.err
    invariants.after_fault(url, shape, ended)
    invariants.after_rerun(url, shape, project.run(url))


def test_the_blocking_tree(url: str, project: Project) -> None:
    """The report shows whoever blocks us and whoever blocks them."""
    shape = _alter(1)
    project.configure(lock_timeout="1s", lock_retries=0)
    project.write(*shape.files)
    with (
        holding(url, "LOCK TABLE public.was IN ACCESS EXCLUSIVE MODE", "the root") as root,
        holding(url, "SELECT count(*) FROM public.orders", "the middle") as middle,
    ):
        waiter = threading.Thread(target=_quietly, args=(middle, "INSERT INTO public.was VALUES (1)"))
        waiter.start()
        until(
            lambda: value(
                url,
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'the middle'",
            )
        )
        ended = project.run(url)
        root.rollback()
        waiter.join()
        tree = [(b["application"], b["depth"]) for b in ended.document["details"]["blockers"]]
        assert tree == [("the middle", 1), ("the root", 2)], ended
        middle.rollback()
    invariants.after_rerun(url, shape, project.run(url))


def _quietly(connection: psycopg.Connection[tuple[object, ...]], statement: str) -> None:
    try:
        connection.execute(statement)  # type: ignore[arg-type]
    except psycopg.Error:
        return


def test_readers_behind_us_wait_no_longer_than_lock_timeout(url: str, project: Project) -> None:
    """While we wait for a lock, readers queue behind us for at most one lock_timeout; between the tries they pass."""
    shape = _alter(2)
    project.configure(lock_timeout="300ms", lock_retries=20)
    project.write(*shape.files)
    with holding(url, "SELECT count(*) FROM public.orders"):
        runner = project.start(url)
        waiting_for_lock(url)
        with psycopg.connect(url, options="-c statement_timeout=10s") as reader:
            assert reader.execute("SELECT count(*) FROM public.orders").fetchone() == (200,)
        assert runner.alive
    invariants.after_rerun(url, shape, runner.wait())


def test_victims_pile_up_behind_us(url: str, project: Project) -> None:
    """When too many sessions queue behind our statement it is cancelled, once, and the run says LOCK_VICTIMS."""
    shape = _alter(3)
    project.configure(lock_timeout="30s", max_lock_victims=2)
    project.write(*shape.files)
    with holding(url, "SELECT count(*) FROM public.orders"):
        runner = project.start(url)
        waiting_for_lock(url)
        readers = [
            threading.Thread(target=execute, args=(url, "SELECT count(*) FROM public.orders"))
            for _ in range(3)
        ]
        for reader in readers:
            reader.start()
        ended = runner.wait(20)
        for reader in readers:
            reader.join(10)
            assert not reader.is_alive(), "the readers still wait"
    assert (ended.code, ended.reason) == (3, "LOCK_VICTIMS"), ended
    assert ended.document["details"]["mostVictims"] >= 3
    invariants.after_fault(url, shape, ended)
    invariants.after_rerun(url, shape, project.run(url))


def test_few_victims_are_borne(url: str, project: Project) -> None:
    """Up to the limit readers may wait behind our statement: it is left alone and succeeds."""
    shape = _alter(4)
    project.configure(lock_timeout="30s", max_lock_victims=5)
    project.write(*shape.files)
    with holding(url, "SELECT count(*) FROM public.orders"):
        runner = project.start(url)
        waiting_for_lock(url)
        reader = threading.Thread(target=execute, args=(url, "SELECT count(*) FROM public.orders"))
        reader.start()
        until(
            lambda: (
                value(
                    url,
                    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()",
                )
                == 2
            )
        )
        assert runner.alive
    ended = runner.wait()
    reader.join(10)
    invariants.after_rerun(url, shape, ended)


def test_a_dump_is_named(server, url: str, project: Project) -> None:  # type: ignore[no-untyped-def]
    """A pg_dump that holds our table is named as the backup that it is, with the advice to wait for its end."""
    shape = _alter(7)
    project.configure(lock_timeout="500ms", lock_retries=0)
    project.write(*shape.files)
    execute(url, "INSERT INTO public.orders SELECT i, 1, repeat('x', 500) FROM generate_series(1000, 5000) i")
    program = Path(f"/proc/{server.pid}/exe").readlink().parent / "pg_dump"
    # Its output is not read, so it stops in the middle with its snapshot and its locks.
    dump = subprocess.Popen([str(program), url], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        until(
            lambda: value(
                url,
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pg_dump' AND wait_event = 'ClientWrite'",
            )
        )
        ended = project.run(url)
    finally:
        dump.kill()
        dump.communicate()
    assert (ended.code, ended.reason) == (3, "LOCK_TIMEOUT"), ended
    assert "pg_dump: a backup is running, wait for its end" in ended.err
    until(lambda: not value(url, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pg_dump'"))
    invariants.after_rerun(url, shape, project.run(url))


def test_autovacuum_against_wraparound_is_named(clusters: Callable[..., Cluster], project: Project) -> None:
    """An autovacuum that prevents wraparound does not yield to us; the report says so and advises to let it finish."""
    cluster = clusters(autovacuum_naptime="1s", vacuum_cost_page_hit="50")
    conftest.create(cluster.url(), "work")
    url = conftest.with_canary(cluster.url("work"))
    shape = _alter(8)
    project.configure(lock_timeout="500ms", lock_retries=0)
    project.write(*shape.files)
    execute(url, "INSERT INTO public.orders SELECT i, 1, repeat('x', 500) FROM generate_series(1000, 5000) i")
    slowly = "autovacuum_freeze_max_age = 100000, autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1"
    execute(url, f"ALTER TABLE public.orders SET ({slowly})")
    # Every block with an exception handler that writes takes a transaction number of its own.
    execute(
        url,
        "DO $$ BEGIN CREATE TEMP TABLE spent (i bigint); FOR i IN 1..110000 LOOP BEGIN INSERT INTO spent VALUES (i);"
        " EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$",
    )
    vacuum = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'autovacuum:%public.orders%(to prevent wraparound)'"
    until(lambda: value(url, vacuum), 60)
    ended = project.run(url)
    assert (ended.code, ended.reason) == (3, "LOCK_TIMEOUT"), ended
    assert "autovacuum to prevent wraparound: it does not yield, let it finish" in ended.err


def test_a_late_word_of_the_watchdog(url: str) -> None:
    """A cause that comes after its statement has ended hits no other one, and does not deafen us for the next."""
    with Alarm() as alarm:
        alarm.ring(Cause("LOCK_VICTIMS", "late", 7))
        assert alarm.pending(8) is None
        alarm.ring(Cause("LOCK_VICTIMS", "in time", 8))
        cause = alarm.pending(8)
        assert cause is not None
        assert cause.message == "in time"
        alarm.take()
        assert alarm.pending(8) is None


def test_a_step_that_waits_for_a_lock(url: str, project: Project) -> None:
    """A step of a non-transactional file that gets no lock fails by name; what is done stays, and the next run goes on there."""
    revision = "1700000000110"
    text = f"-- lockgate: transaction=off\n{once(revision)}\nALTER TABLE public.orders ADD COLUMN stepped text;\n"
    there = "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'public.orders'::regclass AND attname = 'stepped')"
    parts = (f"SELECT count(*) = 1 FROM public.effects WHERE revision = '{revision}'", there)
    shape = Shape("steps", (File(revision, "steps", text, parts, transactional=False),))
    project.configure(lock_timeout="300ms", lock_retries=1)
    project.write(*shape.files)
    with holding(url, "SELECT count(*) FROM public.orders", "nightly report"):
        ended = project.run(url)
    assert (ended.code, ended.reason) == (3, "LOCK_TIMEOUT"), ended
    assert "nightly report" in ended.err
    assert effects(url) == [revision]
    invariants.after_fault(url, shape, ended)
    invariants.after_rerun(url, shape, project.run(url))


def test_no_lock_to_look_at_an_index(url: str, project: Project) -> None:
    """When a lock keeps us from comparing an index with the file's, that is a lock time-out and not another definition."""
    shape = SHAPES["concurrent"]
    project.configure(lock_timeout="300ms")
    project.write(*shape.files)
    execute(url, "CREATE INDEX orders_customer ON public.orders (customer)")
    with holding(url, "LOCK TABLE public.orders IN ACCESS EXCLUSIVE MODE"):
        ended = project.run(url)
    assert (ended.code, ended.reason) == (3, "LOCK_TIMEOUT"), ended
    assert project.run(url).code == 0
