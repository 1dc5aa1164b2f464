"""A move that reads from a standby of its source: right while replay lags, refused where the standby is none, told when it stays behind."""

import threading
import uuid
from contextlib import closing

import msgspec
import pytest

from faults.cluster import Cluster
from lockgate.errors import ConfigError, LockgateError, Refused
from lockgate.moves.declaration import Declaration, Source, TargetSide, problems
from lockgate.moves.opened import Where, where
from lockgate.postgres.link import Link
from lockgate.postgres.moves.replica import Replica, unfit
from lockgate.postgres.relation import ServerFacts
from lockgate.postgres.target import Target
from moves.hand import Hand
from support.calls import Project
from support.processes import until
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")


def reading(hand: Hand, url: str, seconds: int = 30) -> Hand:
    """``hand`` with a replica that is waited for so long."""
    hand.places = hand.places._replace(replica=Target(url, source="test"))
    return hand.with_limits(replica_wait_seconds=seconds, max_replica_lag_seconds=3600)


def test_a_move_across_reads_from_the_standby(pair, database: str):
    """Copied while replay lags behind writes and deletes that the relay brought over first: nothing is resurrected, and the scans were the standby's."""
    primary, standby = pair
    hand = reading(Hand(primary.url(), database), standby.url())
    assert any("once it is past" in n for n in hand.plan().notes)
    hand.start()
    standby.execute("SELECT pg_wal_replay_pause()")
    run_sql(primary.url(), "DELETE FROM item WHERE u % 10 = 0", "UPDATE item SET v = 'late' WHERE u % 10 = 1")
    hand.relay()
    done: list[object] = []
    worker = threading.Thread(target=lambda: done.append(hand.backfill()))
    worker.start()
    until(
        lambda: run_sql(
            primary.url(),
            "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_current_wal_flush_lsn%' AND application_name LIKE '%worker%'",
        )
    )
    assert run_sql(database, "SELECT count(*) FROM item WHERE v <> 'late'") == [(0,)], (
        "no row came from a standby that was behind"
    )
    standby.execute("SELECT pg_wal_replay_resume()")
    worker.join()
    assert done[0].complete
    hand.reconcile()
    assert run_sql(
        database,
        "SELECT count(*), count(*) FILTER (WHERE u % 10 = 0), count(*) FILTER (WHERE v = 'late') FROM item",
    ) == [(900, 0, 100)]
    assert standby.execute(
        "SELECT seq_scan + idx_scan > 0 FROM pg_stat_user_tables WHERE relname = 'item'"
    ) == [(True,)]
    evidence = run_sql(
        primary.url(), "SELECT evidence ->> 'replica' FROM lockgate.move_event WHERE to_stage = 'reconciled'"
    )[0][0]
    assert evidence == str(hand.places.replica)
    run_sql(
        database, "ALTER TABLE item DISABLE TRIGGER ALL", "UPDATE item SET v = 'behind its back' WHERE u = 7"
    )
    with pytest.raises(LockgateError) as caught:
        hand.reconcile()
    assert caught.value.code in ("MOVE_DIVERGED", "MOVE_PAUSED")


def test_both_sides_of_one_database_from_one_moment_of_the_standby(pair):
    """In one database both tables and the outbox are read from one snapshot of the standby while writes go on; a difference is found."""
    primary, standby = pair
    hand = reading(Hand(primary.url()), standby.url())
    hand.start()
    hand.backfill()
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            run_sql(primary.url(), f"UPDATE item SET v = 'w{number}' WHERE u = {number % 50 + 1}")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            assert hand.reconcile().equal
    finally:
        stop.set()
        writer.join()
    hand.relay()
    run_sql(
        primary.url(),
        "BEGIN; SET LOCAL lockgate.feed = 'items'; UPDATE item_new SET v = 'x' WHERE u = 7; COMMIT",
    )
    with pytest.raises(LockgateError) as caught:
        hand.reconcile()
    assert caught.value.code == "MOVE_DIVERGED"


def test_a_standby_that_stays_behind_is_told(pair, database: str):
    """After the wait the command says how far the replica is behind and that its replay is paused; the range is free, and without the replica the same move goes on."""
    primary, standby = pair
    plain = Hand(primary.url(), database).with_limits(max_replica_lag_seconds=3600)
    hand = reading(Hand(primary.url(), database), standby.url(), 0)
    hand.start()
    standby.execute("SELECT pg_wal_replay_pause()")
    until(lambda: standby.execute("SELECT pg_get_wal_replay_pause_state()") == [("paused",)])
    run_sql(primary.url(), "UPDATE item SET v = 'more' WHERE u < 100")
    for call in (hand.backfill, hand.reconcile):
        with pytest.raises(LockgateError) as caught:
            call()
        assert caught.value.code == "MOVE_REPLICA"
        assert "its replay is paused" in caught.value.message
        assert caught.value.details["behindBytes"] > 0
        if call == hand.backfill:
            assert "behind" in run_sql(primary.url(), "SELECT last_error FROM lockgate.backfill_jobs")[0][0]
            assert plain.backfill().complete
    plain.reconcile()
    standby.execute("SELECT pg_wal_replay_resume()")


def test_what_is_no_standby_of_the_source(pair, database: str):
    """The primary itself, another server, another database: each is a problem of the plan, with the reason."""
    primary, _ = pair
    hand = Hand(primary.url(), database)
    for url, word in ((primary.url(), "takes writes itself"), (database, "takes writes itself")):
        told = reading(hand, url).plan().problems
        assert [word in p["what"] for p in told] == [True]
    facts = ServerFacts("1", "5", "UTF8", True, "", 180000)
    at = lambda **more: msgspec.structs.replace(facts, **more)  # noqa: E731
    assert unfit(facts, facts) == ""
    assert "another server" in unfit(facts, at(system_identifier="2"))
    assert "another database" in unfit(facts, at(database_oid="6"))
    place = Target(database, source="t")
    with closing(Link(place, "t")) as link, pytest.raises(LockgateError, match="cannot be read in place of"):
        Replica(place, link, "t", 1)


def following(standby: Cluster, primary: Cluster) -> None:
    """Let ``standby`` stream from ``primary`` from now on."""
    standby.execute(f"ALTER SYSTEM SET primary_conninfo = 'host={primary.sockets} port=5432 user=postgres'")
    standby.execute("SELECT pg_reload_conf()")


def test_a_standby_of_another_timeline_is_not_read(pair, database: str, session_directory):
    """After a promotion beside it, a standby that went on with the old primary is past any place of the new one, with a row that was lost there: neither copy nor proof reads it, while the old primary lives and when it is gone."""
    old, aside = pair
    new = old.standby(session_directory / f"moves-{uuid.uuid4().hex[:8]}n")
    try:
        new.execute("SELECT pg_promote()")
        run_sql(new.url(), "UPDATE item SET v = 'written on the new primary' WHERE u = 7")
        run_sql(
            old.url(),
            "UPDATE item SET v = 'lost write on the old primary' WHERE u = 7",
            "UPDATE item SET v = v || '.' WHERE u <> 7",
        )
        hand = reading(Hand(new.url(), database), aside.url(), 0)
        hand.start()
        # Far more log than the new primary wrote: only a comparison of timelines can tell.
        run_sql(old.url(), "SELECT pg_logical_emit_message(true, 'x', repeat('x', 4000000))")
        flushed = old.execute("SELECT pg_current_wal_flush_lsn()")[0][0]
        until(lambda: aside.execute(f"SELECT pg_last_wal_replay_lsn() >= '{flushed}'") == [(True,)])
        there = new.execute("SELECT pg_current_wal_flush_lsn()")[0][0]
        assert aside.execute(f"SELECT pg_last_wal_replay_lsn() - '{there}'::pg_lsn > 1000000") == [(True,)]
        for dead in (False, True):
            if dead:
                old.crash()
                until(lambda: aside.execute("SELECT count(*) FROM pg_stat_wal_receiver") == [(0,)])
            with pytest.raises(LockgateError, match="it is on timeline 1, the primary on 2") as caught:
                hand.backfill()
            assert caught.value.code == "MOVE_REPLICA"
            assert caught.value.details == {"timeline": 2, "replicaTimeline": 1}
            assert run_sql(database, "SELECT count(*) FROM item") == [(0,)]
        assert Hand(new.url(), database).with_limits(max_replica_lag_seconds=3600).backfill().complete
        with pytest.raises(LockgateError, match="it is on timeline 1, the primary on 2"):
            hand.reconcile()
    finally:
        new.remove()


def test_a_standby_that_follows_a_promotion_is_read(pair, database: str, session_directory):
    """A standby that was turned to the promoted primary is read as soon as it receives the new timeline, before its own control file knows of it; a role that may not see what it receives is told what to grant, and read once it has it."""
    old, aside = pair
    new = old.standby(session_directory / f"moves-{uuid.uuid4().hex[:8]}n")
    try:
        run_sql(old.url(), "CREATE ROLE reader LOGIN; GRANT SELECT ON item TO reader")
        old.stop()
        new.execute("SELECT pg_promote()")
        following(aside, new)
        run_sql(new.url(), "UPDATE item SET v = 'written on the new primary' WHERE u = 7")
        hand = reading(Hand(new.url(), database), aside.url())
        hand.start()
        assert hand.backfill().complete
        assert run_sql(database, "SELECT v FROM item WHERE u = 7") == [("written on the new primary",)]
        place = Target(aside.url().replace("postgres@", "reader@"), source="t")
        with closing(Link(Target(new.url(), source="t"), "t")) as link:
            with pytest.raises(Refused) as caught:
                Replica(place, link, "t", 30)
            assert "the role may not see which timeline it receives" in caught.value.message
            assert 'GRANT pg_read_all_stats TO "reader"' in caught.value.next
            new.execute("GRANT pg_read_all_stats TO reader")
            granted = "SELECT pg_has_role('reader', 'pg_read_all_stats', 'USAGE')"
            until(lambda: aside.execute(granted) == [(True,)])
            with closing(Replica(place, link, "t", 30)) as replica:
                rows = replica.past().rows("SELECT v FROM item WHERE u = 7")
                assert rows == [("written on the new primary",)]
                aside.execute("SELECT pg_promote()")
                with pytest.raises(LockgateError, match="it was promoted"):
                    replica.past()
    finally:
        new.remove()


def test_what_a_declaration_says_of_a_replica():
    """It changes no hash, names a variable that has to be set, and is not for moves in place."""
    plain, told = (Declaration(Source("t", r), TargetSide("u")) for r in ("", "REPLICA"))
    assert plain.hash == told.hash
    assert problems(told) == []
    here = Target("postgresql:///x", source="t")
    assert where(plain, here, {}) == Where(here, None, None)
    found = where(told, here, {"REPLICA": "postgresql:///y"}).replica
    assert found is not None
    with pytest.raises(ConfigError, match=r"source\.replica_env: the variable REPLICA is not set"):
        where(told, here, {})
    assert any("no replica_env" in p for p in problems(msgspec.structs.replace(told, kind="in-place")))


def test_commands_with_a_replica(pair, tmp_path):
    """`lockgate move` with `replica_env`: plan tells it, run proves from the standby, the cutover is recorded on the primary, rollback and abort leave the standby alone."""
    primary, standby = pair
    project = Project(tmp_path, primary.url())
    project.write("a", "CREATE TABLE a (id bigint PRIMARY KEY);\n")
    assert project.run("up").code == 0
    project.environ["REPLICA"] = standby.url()
    (tmp_path / "moves").mkdir()
    (tmp_path / "moves" / "items.toml").write_text(
        '[source]\ntable = "item"\nreplica_env = "REPLICA"\n[target]\ntable = "item_new"\ncreate = true\n[limits]\nmax_connections_percent = 100\n'
    )
    assert any(
        "both sides are compared" in n for n in project.ok("move", "move", "plan", "items")["result"]["notes"]
    )
    ran = project.ok("move", "move", "run", "items", "--cutover")
    assert ran["serves"] == "target"
    assert primary.execute("SELECT count(*) FROM lockgate.history_event WHERE kind = 'move'") == [(1,)]
    assert project.ok("move", "move", "rollback", "items")["serves"] == "source"
    assert project.ok("move", "move", "abort", "items")["stage"] == "aborted"


def test_only_what_reads_much_needs_the_variable(database: str):
    """The databases of a move by triggers are found without the replica's variable by commands that read nothing from it, and refused to those that do."""
    hand = Hand(database, database)
    source = msgspec.structs.replace(hand.declared.source, replica_env="READ")
    declared = msgspec.structs.replace(hand.declared, source=source)
    around = {declared.target.url_env: database} if declared.target.url_env else {}
    assert where(declared, hand.places.source, around, reads=False).replica is None
    with pytest.raises(ConfigError, match="READ is not set"):
        where(declared, hand.places.source, around)
