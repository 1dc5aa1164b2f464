"""The gate of a running service, on a real server: strict first, cached then, and what happens when the world changes."""

import os
import random
import subprocess
import sys
import threading

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from gate.contracts import R, ask, contract
from lockgate.gate import Contract, Gate, Probe
from lockgate.gate.judge import Own
from support.processes import until

pytestmark = pytest.mark.postgres("18")


@pytest.fixture
def gate(applied, database):
    """A function that makes a gate; stopped at the end."""
    made = []

    def make(asked: Contract | None = None, **options) -> Gate:
        made.append(Gate(asked or contract(), database, rng=random.Random(1), **options))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def unreachable(database):
    """A function that makes the database refuse (or take) connections."""

    def switch(off: bool) -> None:
        name = conninfo_to_dict(database)["dbname"]
        with psycopg.connect(database, dbname="postgres", autocommit=True) as admin:
            admin.execute(
                sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(
                    sql.Identifier(name), sql.SQL("false" if off else "true")
                )
            )

    yield switch
    switch(False)


def test_strict_until_the_first_success(gate, unreachable):
    """Unreachable at the start: not open. Reachable: open. Unreachable later: stays open and is stale. Again: ready."""
    one = gate()
    unreachable(True)
    one.refresh()
    assert (one.open, one.readiness.state) == (False, "starting")
    unreachable(False)
    one.refresh()
    assert (one.open, one.readiness.state) == (True, "ready")
    unreachable(True)
    one.refresh()
    assert (one.open, one.readiness.state, one.report.answer) == (True, "stale", "READY")
    unreachable(False)
    one.refresh()
    assert one.readiness.state == "ready"


def test_a_definite_mismatch_closes_and_mending_opens(gate, database):
    """The floor passes the window: closed at once, also when nobody answers afterwards; back inside: open."""
    one = gate()
    one.refresh()
    ask(database, "UPDATE lockgate.fence SET compat_floor = %s", R[9])
    one.refresh()
    assert (one.open, one.readiness.state, one.report.answer) == (False, "closed", "AHEAD_TOO_FAR")
    ask(database, "UPDATE lockgate.fence SET compat_floor = ''")
    one.refresh()
    assert one.open


def test_closed_stays_closed_when_nobody_answers(gate, database, unreachable):
    """After a clear no, an unreachable database opens nothing."""
    one = gate()
    one.refresh()
    ask(database, "UPDATE lockgate.fence SET compat_floor = %s", R[9])
    one.refresh()
    unreachable(True)
    one.refresh()
    assert (one.open, one.readiness.state, one.report.answer) == (False, "closed", "AHEAD_TOO_FAR")


def test_it_registers_while_it_serves(gate, database):
    """Its first check registers it with what it has seen; stop signs it off; one outside its window is not registered."""
    one = gate(service="shop", own=Own("s1", {"docs": "h"}))
    one.refresh()
    ((service, observed),) = ask(database, "SELECT service, observed FROM lockgate.instance")
    assert service == "shop"
    assert observed["secrets_revision"] == "s1"
    assert observed["index_hashes"] == {"docs": "h"}
    assert observed["revision"] == R[3]
    one.stop()
    assert ask(database, "SELECT count(*) FROM lockgate.instance") == [(0,)]
    late = gate(contract(5, 6))
    late.refresh()
    assert ask(database, "SELECT count(*) FROM lockgate.instance") == [(0,)]


def test_an_announced_floor_and_a_newcomer(gate, applied, database):
    """A live run announces a floor: a new instance below it does not register; one that is there stays and is seen."""
    here, late = gate(contract(1, 3)), gate(contract(1, 3))
    here.refresh()
    with psycopg.connect(database, autocommit=True) as runner:
        from lockgate.postgres.guard import GUARD_KEY

        runner.execute("SELECT pg_advisory_lock(%s)", [GUARD_KEY])
        runner.execute("UPDATE lockgate.run SET state = 'running'")
        runner.execute(
            "INSERT INTO lockgate.floor_announcement (floor, run_id) SELECT %s, run_id FROM lockgate.fence",
            [R[4]],
        )
        late.refresh()
        assert (late.open, late.report.answer) == (False, "AHEAD_TOO_FAR")
        here.refresh()
        assert here.open
        assert any("announced" in warning for warning in here.report.warnings)
        assert ask(database, "SELECT instance_id FROM lockgate.instance") == [(here.instance_id,)]
    until(lambda: ask(database, "SELECT lockgate.gate_v1() ->> 'announced_floor'") == [("",)])
    ask(database, "UPDATE lockgate.run SET state = 'succeeded'")
    late.refresh()
    assert late.open, "an announcement dies with its run"


def test_an_instance_that_was_away_gates_itself_again(gate, database):
    """An instance whose heartbeat expired counts as new: below an announced or a raised floor it is not registered again."""
    one = gate()
    one.refresh()
    ask(database, "UPDATE lockgate.instance SET heartbeat_at = now() - interval '1 hour'")
    ask(database, "UPDATE lockgate.fence SET compat_floor = %s", R[9])
    one.refresh()
    assert not one.open
    assert ask(database, "SELECT count(*) FROM lockgate.instance") == [(0,)]


def test_probes_gate_the_start_only_unless_always(gate):
    """A probe that fails keeps a start closed; later it changes nothing, unless it is declared with always."""
    up = True
    start = gate(contract(probes=[Probe("p", "python", call=lambda: up)]))
    always = gate(contract(probes=[Probe("p", "python", call=lambda: up, always=True)]))
    up = False
    start.refresh()
    assert (start.open, start.report.answer) == (False, "PROBE_FAILED")
    up = True
    start.refresh()
    always.refresh()
    assert start.open
    assert always.open
    up = False
    start.refresh()
    always.refresh()
    assert start.open
    assert not always.open


def test_a_check_that_raises_is_an_unknown(gate):
    """When the gate's own code or the caller's `own` raises, that is unknown: closed at the start, the last verdict later."""

    def broken():
        raise RuntimeError("password=c4n4ry")

    one = gate(own=broken)
    report = one.refresh()
    assert not one.open
    assert "RuntimeError" in report.conditions[0].evidence
    assert "c4n4ry" not in report.conditions[0].evidence
    one._own = None
    one.refresh()
    one._own = broken
    one.refresh()
    assert (one.open, one.readiness.state) == (True, "stale")


def test_the_background_thread(gate, database):
    """start refreshes by itself, wait returns when it is open, listeners hear of it, and one that raises harms nothing."""
    heard = []

    def deaf(*_):
        raise RuntimeError

    one = gate(interval=0.2, on_change=deaf)
    one.on_change(lambda before, after, report: heard.append((before.state, after.state)))
    assert one.wait(20)
    looks = one.looks
    until(lambda: one.looks > looks + 1)
    assert heard[0] == ("starting", "ready")
    ask(database, "UPDATE lockgate.fence SET compat_floor = %s", R[9])
    until(lambda: not one.open)
    assert ("ready", "closed") in heard
    one.stop()
    assert heard[-1][1] == "stopping"
    assert not one.wait(0.1)


def test_a_fork_gets_its_own_instance(gate, database):
    """A worker forked from a process whose gate runs starts strict, registers under a name of its own, and serves."""
    one = gate()
    assert one.wait(20)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            one.start()
            strict = one.readiness.state == "starting"
            ready = one.wait(20)
            os.write(write, f"{strict} {ready} {one.instance_id}".encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as pipe:
        strict, ready, instance = pipe.read().split()
    assert (strict, ready) == ("True", "True")
    assert instance != one.instance_id
    names = {row[0] for row in ask(database, "SELECT instance_id FROM lockgate.instance")}
    assert names == {instance, one.instance_id}


def test_many_gates_in_one_process(applied, database):
    """500 gates that start at once look one query each, four at a time, whatever the server's limits are."""
    gates = [Gate(contract(), database, registers=False, interval=600) for _ in range(500)]
    peak, done = 0, threading.Event()

    def watch():
        nonlocal peak
        name = conninfo_to_dict(database)["dbname"]
        with psycopg.connect(database, dbname="postgres", autocommit=True) as observer:
            while not done.is_set():
                row = observer.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = %s", [name]
                ).fetchone()
                peak = max(peak, row[0])

    watcher = threading.Thread(target=watch)
    watcher.start()
    for one in gates:
        one.start()
    assert all(one.wait(60) for one in gates)
    done.set()
    watcher.join()
    assert [one.looks for one in gates] == [1] * 500
    assert 1 <= peak <= 20, "four at a time, and sessions take a moment to end"
    for one in gates:
        one.stop()


def test_up_announces_the_floor_first(gate, applied, database):
    """While a contract-phase file is applied its floor stands announced; no instance below it can start in that time."""
    applied.write("drop_x", "-- lockgate: phase=contract\nALTER TABLE a DROP COLUMN x;\n")
    with psycopg.connect(database) as blocker:
        blocker.execute("LOCK TABLE a IN ACCESS SHARE MODE")
        running = applied.start("up")
        until(lambda: ask(database, "SELECT lockgate.gate_v1() ->> 'announced_floor'") == [(R[4],)])
        late = gate(contract(1, 3))
        late.refresh()
        assert (late.open, late.report.answer) == (False, "AHEAD_TOO_FAR")
    out, err = running.communicate(timeout=60)
    assert running.returncode == 0, out + err
    assert ask(database, "SELECT lockgate.gate_v1() ->> 'announced_floor'") == [("",)]
    assert ask(database, "SELECT count(*) FROM lockgate.instance") == [(0,)]


def test_up_waits_for_instances_that_were_away(gate, applied, database):
    """An instance below the floor whose heartbeat expired lately gets one refresh to come back, as one that does not serve."""
    one = gate(contract(1, 3), interval=1)
    one.refresh()
    assert one.open
    ask(database, "UPDATE lockgate.instance SET heartbeat_at = now() - interval '1 minute'")
    applied.write("drop_x", "-- lockgate: phase=contract\nALTER TABLE a DROP COLUMN x;\n")
    running = applied.start("up")
    until(lambda: ask(database, "SELECT lockgate.gate_v1() ->> 'announced_floor'") == [(R[4],)])
    one.refresh()
    out, err = running.communicate(timeout=60)
    assert running.returncode == 0, out + err
    assert "announced" in out
    one.refresh()
    assert not one.open


_ONE_OF_MANY = """
import os, sys
from lockgate.gate import Contract, Gate
gate = Gate(Contract(min=sys.argv[1], max=sys.argv[2]), os.environ["DATABASE_URL"], interval=600)
print("ready" if gate.wait(60) else "closed", gate.looks, flush=True)
sys.stdin.read()
os._exit(0)
"""


def test_twenty_processes_at_once(applied, database):
    """Twenty processes that start together cost the server one session each, counted there, and all register."""
    name = conninfo_to_dict(database)["dbname"]
    with psycopg.connect(database, dbname="postgres", autocommit=True) as observer:

        def sessions() -> int:
            row = observer.execute(
                "SELECT sessions FROM pg_stat_database WHERE datname = %s", [name]
            ).fetchone()
            return row[0]

        until(
            lambda: (
                observer.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = %s", [name]
                ).fetchone()
                == (0,)
            )
        )
        before = sessions()
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", _ONE_OF_MANY, R[1], R[3]], env={**os.environ, "DATABASE_URL": database},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for _ in range(20)
        ]  # fmt: skip
        answers = [process.stdout.readline().strip() for process in processes]
        until(lambda: sessions() >= before + 20)
        counted = sessions() - before
        for process in processes:
            process.communicate()
    assert answers == ["ready 1"] * 20
    assert counted == 20
    assert ask(database, "SELECT count(*) FROM lockgate.instance") == [(20,)]


def test_a_process_with_thousands_of_descriptors(gate):
    """A service that has more than a thousand descriptors open is checked like any other."""
    import resource
    import socket

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096) if hard > 0 else 4096, hard))
    held = [socket.socket() for _ in range(1200)]
    try:
        one = gate()
        one.refresh()
        assert one.open, one.report.conditions
    finally:
        for each in held:
            each.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
