"""A move that is cut off anywhere goes on from what the database says; nothing is lost on the way."""

import os
import random
import signal
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.cluster import Cluster
from faults.relay import Relay
from lockgate.errors import LockgateError
from lockgate.record import points
from moves.hand import Hand, make
from moves.writers import Load, Stubborn, Writer
from support.calls import Project, finish
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")


class Crash(BaseException):
    """The process is dead from here on: every later round trip fails too."""


class Killer:
    """Dies at the ``at``-th round trip and stays dead."""

    def __init__(self, at: int) -> None:
        self.at, self.seen = at, 0

    def __call__(self, name: str) -> None:
        self.seen += 1
        if self.seen >= self.at:
            raise Crash(name)


def crash_at(at: int, call) -> bool:
    """Call with a crash at its ``at``-th point; True when it got that far."""
    killer = Killer(at)
    points.install(killer)
    try:
        call()
    except Crash:
        return True
    finally:
        points.install(None)
    return False


def every_point(hand: Hand, url_of, rows: int, stride: int) -> int:
    """Crash cutover and rollback at every ``stride``-th round trip, and finish each by calling it again."""
    at, survived = 1, 0
    crashed = True
    while crashed:
        crashed = False
        for call, side in ((hand.cutover, "target"), (hand.rollback, "source")):
            run_sql(
                url_of(hand.serving()),
                f"UPDATE item SET v = 'round {at} {side}' WHERE u % 10 = {at % 10}",
                f"DELETE FROM item WHERE u = {rows - at}",
            )
            expected = sorted(run_sql(url_of(hand.serving()), "SELECT a, b, v, u FROM item"))
            crashed |= crash_at(at, call)
            call()
            assert hand.serving() == side
            assert sorted(run_sql(url_of(side), "SELECT a, b, v, u FROM item")) == expected, (at, side)
            run_sql(url_of(side), "UPDATE item SET n = 1 WHERE u = 1")
            survived += 1
        hand.start()
        hand.backfill()
        hand.reconcile()
        at += stride
    return survived


@pytest.mark.parametrize("across", [False, True], ids=["one-database", "two-databases"])
def test_crash_at_every_round_trip(databases, across):
    """Killed at any round trip of cutover and rollback, the same call goes on: the side that serves holds every write and takes new ones."""
    source = databases()
    target = databases() if across else source
    make(source, 400)
    hand = Hand(source, target if across else None)
    hand.there()
    assert (
        every_point(hand, lambda side: target if side == "target" else source, 400, 19 if across else 11) > 6
    )


@pytest.mark.soak
@pytest.mark.parametrize("across", [False, True], ids=["one-database", "two-databases"])
def test_crash_at_every_single_round_trip(databases, across):
    """The same without leaving a round trip out."""
    source = databases()
    target = databases() if across else source
    make(source, 400)
    hand = Hand(source, target if across else None)
    hand.there()
    assert every_point(hand, lambda side: target if side == "target" else source, 400, 1) > 50


@pytest.mark.parametrize("across", [False, True], ids=["one-database", "two-databases"])
def test_crash_while_copying(databases, across):
    """Killed at any round trip of start, backfill and relay, the move converges: every range is in the ledger once, and both sides are equal."""
    source = databases()
    make(source, 600)
    hand = Hand(source, databases() if across else None)
    at, crashed = 1, True
    while crashed:
        crashed = crash_at(at, hand.start)
        hand.start()
        run_sql(source, f"UPDATE item SET v = 'at {at}' WHERE u % 5 = {at % 5}")
        crashed |= crash_at(at, hand.relay)
        crashed |= crash_at(at, hand.reconcile) if hand.stage == "backfilling" else False
        with hand.open() as move:
            from lockgate.moves.backfill import Work, work
            from lockgate.postgres.moves import ledger

            if move.row().stage == "dual_write":
                ledger.step(move.home, move.name, "dual_write", "backfilling", "test", {})
        crashed |= crash_at(at, lambda: work(Work(hand.declared, hand.places)))
        run_sql(
            source,
            "UPDATE lockgate.move_range SET lease_until = now() - interval '1 s' WHERE state = 'leased'",
        )
        hand.backfill()
        assert hand.reconcile().equal
        assert run_sql(
            source,
            "SELECT count(*), sum(rows_source) FROM lockgate.move_range WHERE state <> 'copied' OR rows_source IS NULL",
        ) == [(0, None)]
        hand.abort()
        _drop_target(hand)
        at += 23
    assert at > 50


def _drop_target(hand: Hand) -> None:
    with hand.open() as move:
        move.far.run(
            "DROP TABLE IF EXISTS public.item_new"
            if move.far is move.home
            else "DROP TABLE IF EXISTS public.item"
        )


def chaos(
    project: Project,
    source: str,
    target: str | None,
    rounds: int,
    seed: int,
    rows: int = 3000,
    pace: float = 0.004,
    *,
    hurt: "Callable[[random.Random, subprocess.Popen[str]], None] | None" = None,
    direct: str = "",
    times: int = 4,
    enough: Callable[[], bool] = lambda: True,
) -> None:
    """Rounds of run, cutover and rollback by processes that are killed, or ``hurt``, at random and so many ``times`` a command, under load. ``direct`` is how the writers reach the source, where the commands go another way.

    A quick machine may be done before much is hurt: rounds are added, at most ten, until there was ``enough``.
    """
    (project.root / "moves").mkdir(exist_ok=True)
    more = "" if target is None else 'url_env = "ELSEWHERE"\n'
    switch = 'switch = "none"\n' if target else ""
    (project.root / "moves" / "items.toml").write_text(
        f'{switch}[source]\ntable = "item"\n[target]\ntable = "{"item" if target else "item_new"}"\n{more}create = true\n[limits]\nbatch_rows = 100\nrelay_rows = 50\nmax_connections_percent = 100\nmax_lock_waiters = 1000\n'
    )
    environ = {"DATABASE_URL": source, "ELSEWHERE": target or ""}
    rng = random.Random(seed)
    kills = 0

    def insist(*arguments: str) -> None:
        nonlocal kills
        for attempt in range(60):
            process = project.start("move", *arguments, "--format", "json", **environ)
            if attempt < times:
                try:
                    # The first kill comes before even a quick machine can be done; the others anywhere in the run.
                    process.wait(rng.uniform(0.1, 0.3) if attempt == 0 else rng.uniform(0.2, 1.6))
                except subprocess.TimeoutExpired:
                    if hurt is None:
                        os.kill(process.pid, signal.SIGKILL)
                    else:
                        hurt(rng, process)
                    kills += 1
            answer = finish(process)
            if answer.code == 0:
                return
            assert answer.code in (-9, 75, 69, 1, 3), answer
            if answer.code == 1:
                assert "MOVE_INCOMPLETE" in answer.out, answer
        raise AssertionError(f"{arguments} does not come to an end: {answer}")

    kind = Stubborn if hurt is not None else Writer
    with Load(
        [source, target] if target else direct or source, rows, seed=seed, pace=pace, kind=kind
    ) as load:
        for number in range(rounds + 10):
            if number >= rounds and enough():
                break
            insist("run", "items", "--cutover")
            load.go_on(30)
            insist("rollback", "items")
            load.go_on(30)
        insist("run", "items", "--cutover")
        load.go_on(30)
    load.check(target or direct or source)
    assert kills > 0


@pytest.mark.parametrize("across", [False, True], ids=["one-database", "two-databases"])
def test_chaos(tmp_path, databases, across):
    """kill -9 of coordinator, workers and relay at random while three writers keep a ledger of acknowledged writes: none is missing, stale or resurrected."""
    source = databases()
    make(source, 3000)
    chaos(Project(tmp_path, source), source, databases() if across else None, 1, 7)


@pytest.mark.soak
@pytest.mark.parametrize("across", [False, True], ids=["one-database", "two-databases"])
def test_chaos_for_long(tmp_path, databases, across):
    """Twenty rounds of start, cutover, rollback under random kills."""
    source = databases()
    make(source, 20000)
    chaos(Project(tmp_path, source), source, databases() if across else None, 20, 11, rows=20000, pace=0.0)


def servers_and_wires(
    server, session_directory, postgres_label, tmp_path: Path, rounds: int, rows: int, pace: float
) -> None:
    """Chaos in which the process, the server and the wires are hurt in turn, on a server of its own."""
    folder = session_directory / f"chaos-{uuid.uuid4().hex[:8]}"
    cluster = Cluster.like(server, folder, session_directory, postgres_label)
    hurts: list[str] = []

    def hurt(rng: random.Random, process: "subprocess.Popen[str]") -> None:
        kind = ("server", "wire", "process")[len(hurts) % 3]
        hurts.append(kind)
        if kind == "process":
            os.kill(process.pid, signal.SIGKILL)
        elif kind == "wire":
            wire.cut()
        else:
            # As the server sees it: one of its processes is gone, so nothing in its memory is to be trusted, and all sessions end.
            ours = cluster.execute(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
            os.kill(int(str(rng.choice(ours)[0])), signal.SIGKILL)

    try:
        cluster.start(synchronous_commit="on")
        make(cluster.url(), rows)
        with Relay(lambda: cluster.socket) as wire:
            project = Project(tmp_path, cluster.url())
            chaos(
                project,
                wire.url("postgres"),
                None,
                rounds,
                5,
                rows=rows,
                pace=pace,
                hurt=hurt,
                direct=cluster.url(),
                enough=lambda: {"server", "wire", "process"} <= set(hurts),
            )
        assert {"server", "wire", "process"} <= set(hurts)
    finally:
        cluster.remove()


def test_chaos_of_servers_and_wires(server, session_directory, postgres_label, tmp_path: Path):
    """The server dies under kill -9, wires are cut and processes killed in turn, while three writers keep a ledger of acknowledged writes and look what became of those that were not: none is missing, stale or resurrected."""
    servers_and_wires(server, session_directory, postgres_label, tmp_path, 1, 3000, 0.004)


@pytest.mark.soak
def test_chaos_of_servers_and_wires_for_long(server, session_directory, postgres_label, tmp_path: Path):
    """Twenty rounds of the same."""
    servers_and_wires(server, session_directory, postgres_label, tmp_path, 20, 20000, 0.0)


def test_a_worker_of_another_process_dies(databases, tmp_path):
    """--executor processes: a worker that is killed leaves a lease; another takes its range over and the backfill ends complete."""
    source = databases()
    make(source, 3000)
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    hand = Hand(source)
    hand.start()
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        done = hand.backfill(executor=pool)
    assert done.complete
    run_sql(
        source,
        "UPDATE lockgate.move_range SET state = 'leased', lease_owner = 'dead', lease_until = now() - interval '1 s' WHERE number IN (1, 3)",
    )
    assert hand.backfill().ranges == 2
    assert hand.reconcile().equal
    with pytest.raises(LockgateError):
        hand.finish()


@pytest.mark.parametrize("across", [False, True], ids=["one-database", "two-databases"])
def test_a_delete_that_slips_in_between(databases, across):
    """A row that a batch has read is deleted before the batch commits, and the relay is called at once: it waits for the batch, and the row does not rise again."""
    import threading

    from lockgate.moves.backfill import Task, claim, copy
    from lockgate.postgres.moves import ledger

    source = databases()
    make(source, 50)
    hand = Hand(source, databases() if across else None)
    hand.start()
    relays: list[threading.Thread] = []

    def hook(name: str) -> None:
        if name in ("move:batch:commit", "move:batch:destination-commit") and not relays:
            points.install(None)
            run_sql(
                source,
                "DELETE FROM item WHERE u = 7",
                "UPDATE item SET v = NULL WHERE u = 8",
                "UPDATE item SET a = 9 WHERE u = 9",
            )
            relays.append(threading.Thread(target=hand.relay))
            relays[0].start()

    with hand.open() as move:
        ledger.step(move.home, move.name, "dual_write", "backfilling", "test", {})
        mapping = move.layout(move.row()).forward
        piece = claim(move, mapping, 100)
        assert piece is not None
        points.install(hook)
        try:
            assert copy(move, Task(mapping), piece) is not None
        finally:
            points.install(None)
    relays[0].join()
    hand.relay()
    there = source if not across else hand.far_url
    table = "item" if across else "item_new"
    assert run_sql(there, f"SELECT u, a, v FROM {table} WHERE u IN (7, 8, 9) ORDER BY u") == [
        (8, 1, None),
        (9, 9, "v9"),
    ]
    hand.backfill()
    assert hand.reconcile().equal
