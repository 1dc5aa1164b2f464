"""A dual-written move that reads from a standby of its source: right while replay lags, refused where the standby is none."""

import threading
from pathlib import Path

import msgspec
import pytest

from lockgate.errors import ConfigError, LockgateError
from lockgate.moves.declaration import LimitsPart
from lockgate.moves.dual import DualWriter, drive, turning
from lockgate.moves.dual.copy import backfill
from lockgate.moves.dual.declaration import Place as Named
from lockgate.moves.dual.declaration import problems
from lockgate.moves.dual.pair import Urls, urls
from moves.conftest import pair  # noqa: F401 - the fixture
from stores.conftest import TABLES, Place
from stores.hand import Hand, row
from support.calls import Project
from support.processes import until
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")
WAITS = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_current_wal_flush_lsn%' AND application_name LIKE '%worker%'"


def naming(hand: Hand) -> Hand:
    """``hand`` with a declaration that names a replica."""
    hand.declared = msgspec.structs.replace(hand.declared, source=Named("t", "ONE", replica_env="READ"))
    return hand


def reading(pair, target: Place, ledger: str) -> Hand:  # noqa: F811
    """A move from the primary of ``pair`` whose heavy reads go to its standby."""
    primary, standby = pair
    run_sql(
        primary.url(),
        TABLES["postgres"],
        "INSERT INTO t (id, u) SELECT g, 'u' || g FROM generate_series(1, 200) g",
    )
    source = Place("postgres", primary.url(), lambda *_: None)
    hand = naming(Hand(source, target, ledger, writers=0))
    hand.places = Urls(primary.url(), target.url, standby.url())
    return hand


@pytest.mark.parametrize("columns", [{}, {"u": "upper(u)"}], ids=["as they are", "mapped"])
def test_copied_and_compared_from_the_standby(pair, places, database: str, columns: dict[str, str]):  # noqa: F811
    """Replay stands still from before the move on: nothing is copied until the standby has what was committed, then a row from before the capture, a write and a delete of the meantime are all there; the scans were the standby's."""
    primary, standby = pair
    move = reading(pair, places("mysql"), database)
    if columns:
        move.declared = msgspec.structs.replace(move.declared, columns=columns, reverse={"u": "lower(u)"})
    until(lambda: standby.execute("SELECT 1 FROM pg_class WHERE relname = 't'"))
    standby.execute("SELECT pg_wal_replay_pause()")
    run_sql(primary.url(), "INSERT INTO t (id, u) VALUES (500, 'before the capture')")
    assert any("from the standby" in step for step in move.call(drive.plan).steps)
    move.call(drive.start, operator="t")
    done: list[object] = []
    worker = threading.Thread(target=lambda: done.append(move.call(backfill)))
    with move.writer() as writer:
        writer.put({"id": 7, "u": "meanwhile"})
        writer.delete({"id": 8})
        worker.start()
        until(lambda: run_sql(primary.url(), WAITS))
        assert set(move.state("target")) <= {"7"}, "no row came from a standby that was behind"
        standby.execute("SELECT pg_wal_replay_resume()")
        worker.join()
    assert done[0].rows >= 200
    assert move.call(drive.reconcile).verified.source_rows == 200
    target = move.state("target")
    assert ("8" in target, len(target)) == (False, 200)
    assert [target[k][0].lower() for k in ("7", "500")] == ["meanwhile", "before the capture"]
    until(
        lambda: (
            standby.execute("SELECT seq_scan + idx_scan > 0 FROM pg_stat_user_tables WHERE relname = 't'")
            == [(True,)]
        )
    )
    assert run_sql(
        database, "SELECT evidence ->> 'replica' <> '' FROM lockgate.move_event WHERE to_stage = 'reconciled'"
    ) == [(True,)]
    assert move.call(turning.turn, forward=True).serves == "target"


def test_the_way_back_needs_no_replica(pair, places, database: str, tmp_path: Path):  # noqa: F811
    """Once the variable of the replica is gone, pause, resume, status, cutover, rollback and abort work all the same; what reads much is refused and names it."""
    primary, standby = pair
    move = reading(pair, places("sqlite"), database)
    until(lambda: standby.execute("SELECT 1 FROM pg_catalog.pg_class WHERE relname = 't'"))
    until(lambda: standby.execute("SELECT 1 FROM t WHERE id = 200"))
    project = Project(tmp_path, database)
    here = {"ONE": primary.url(), "OTHER": move.places.target}
    (tmp_path / "moves").mkdir()
    (tmp_path / "moves" / "things.toml").write_text(
        'kind = "dual-write"\nwriters = 0\n[source]\ntable = "t"\nurl_env = "ONE"\nreplica_env = "READ"\n[target]\ntable = "t"\nurl_env = "OTHER"\n'
    )
    for command in (("pause", "things", "--reason", "x"), ("resume", "things"), ("cutover", "things"), ("rollback", "things"), ("abort", "things")):  # fmt: skip
        if command[0] in ("pause", "cutover"):
            project.environ |= {**here, "READ": standby.url()}
            project.ok("move", "move", "run", "things")
            del project.environ["READ"]
            for reads in (("verify", "things"), ("backfill", "things"), ("run", "things")):
                assert "READ is not set" in project.json("move", *reads).error("MOVE_DECLARATION")["message"]
        project.ok("move", "move", *command)
        project.ok("move", "move", "status", "things")


def test_a_standby_that_stays_behind(pair, places, database: str):  # noqa: F811
    """Waited for in vain, the copy is refused with the distance, nothing is copied, and it goes on once replay does."""
    primary, standby = pair
    move = reading(pair, places("sqlite"), database)
    limits = LimitsPart(batch_rows=50, relay_rows=20, workers=1, replica_wait_seconds=0)
    move.declared = msgspec.structs.replace(move.declared, limits=limits)
    move.call(drive.start, operator="t")
    until(lambda: standby.execute("SELECT 1 FROM pg_class WHERE relname = 'dual_things_rev'"))
    standby.execute("SELECT pg_wal_replay_pause()")
    run_sql(primary.url(), "UPDATE t SET u = u || '.'")
    with pytest.raises(LockgateError) as caught:
        move.call(backfill)
    assert (caught.value.code, caught.value.details["replayPaused"]) == ("MOVE_REPLICA", True)
    assert move.state("target") == {}
    standby.execute("SELECT pg_wal_replay_resume()")
    until(lambda: standby.execute("SELECT 1 FROM t WHERE u LIKE '%.'"))
    limits = msgspec.structs.replace(limits, replica_wait_seconds=30)
    move.declared = msgspec.structs.replace(move.declared, limits=limits)
    move.call(backfill)
    move.call(drive.reconcile)
    assert move.state("target")["3"][0] == "u3."


def test_what_is_no_standby_is_refused(hand, database: str, tmp_path: Path):
    """The plan refuses the primary itself, a store that has no standbys, and a target's replica; only who reads much needs the variable."""
    move: Hand = naming(hand("postgres", "sqlite"))
    move.places = Urls(move.places.source, move.places.target, move.places.source)
    assert "it takes writes itself" in move.call(drive.plan).problems[0]["what"]
    other: Hand = naming(hand("sqlite", "sqlite"))
    other.places = Urls(other.places.source, other.places.target, database)
    assert "only a source in PostgreSQL" in other.call(drive.plan).problems[0]["what"]
    assert any(
        "target.replica_env" in p
        for p in problems(
            msgspec.structs.replace(move.declared, target=Named("t", "OTHER", replica_env="READ"))
        )
    )
    around = {"ONE": "a", "OTHER": "b"}
    assert urls(move.declared, around) == Urls("a", "b")
    with pytest.raises(ConfigError, match="READ is not set"):
        urls(move.declared, around, reads=True)
    with DualWriter(move.declared, Urls(*move.places.both)) as writer:
        writer.put(row(9000, "an application needs no replica"))
