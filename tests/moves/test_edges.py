"""What a move refuses, pauses at, heals and puts aside."""

import threading
import time

import msgspec
import psycopg
import pytest

from lockgate.errors import LockgateError
from lockgate.moves.declaration import Gates, Source, TargetSide
from moves.hand import Hand, make
from moves.writers import Load
from support.processes import until
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")


def refused(reason: str, call, *arguments, **more) -> LockgateError:
    """The error of a call that gives ``reason``."""
    with pytest.raises(LockgateError) as caught:
        call(*arguments, **more)
    assert caught.value.code == reason, caught.value
    return caught.value


def test_every_call_can_be_repeated(database):
    """Each command called twice does its work once and leaves the same stage."""
    make(database, 500)
    hand = Hand(database)
    assert [hand.start(), hand.start()] == ["dual_write"] * 2
    assert [hand.backfill().complete, hand.backfill().complete] == [True, True]
    assert [hand.reconcile().equal, hand.reconcile().equal] == [True, True]
    first, second = hand.cutover(), hand.cutover()
    assert (first.already, second.already) == (False, True)
    first, second = hand.rollback(), hand.rollback()
    assert (first.already, second.already) == (False, True)
    assert hand.stage == "rolled_back"
    assert [hand.abort().stage, hand.abort().stage] == ["aborted"] * 2
    assert run_sql(database, "SELECT count(*) FROM item") == [(500,)]
    run_sql(database, "UPDATE item SET v = 'free'")


def test_steps_out_of_order_are_refused(database):
    """No cutover before the comparison, no comparison before the copy, no abort after the switch."""
    make(database, 300)
    hand = Hand(database)
    refused("MOVE_UNKNOWN", hand.cutover)
    hand.start()
    refused("MOVE_STAGE", hand.cutover)
    refused("MOVE_STAGE", hand.reconcile)
    hand.backfill()
    refused("MOVE_STAGE", hand.cutover)
    hand.reconcile()
    hand.cutover()
    refused("MOVE_STAGE", hand.abort)
    assert hand.finish(now=True) == "finished"
    refused("MOVE_STAGE", hand.rollback)


def test_the_window_of_the_way_back(database):
    """finish refuses while the way back is open; with a broken reverse feed it refuses after it too, loudly."""
    make(database, 300)
    hand = Hand(database)
    hand.there()
    hand.cutover()
    refused("MOVE_WINDOW", hand.finish)
    run_sql(
        database,
        "UPDATE lockgate.move SET rollback_until = now() - interval '1 s'",
        "ALTER TABLE item DISABLE TRIGGER zz_lockgate_items_reverse",
        "UPDATE item SET v = 'unseen' WHERE u = 7",
    )
    assert "reverse feed" in refused("MOVE_DIVERGED", hand.finish).message
    assert hand.stage == "tail"


def test_truncate_is_captured(database):
    """TRUNCATE on the source during the copy empties the target, and rows written after it arrive."""
    make(database, 2000)
    hand = Hand(database)
    hand.start()
    hand.backfill()
    run_sql(
        database,
        "TRUNCATE item",
        "INSERT INTO item SELECT 1, 'after' || g, 'x', g FROM generate_series(1, 10) g",
    )
    assert hand.reconcile().verified.target_rows == 10
    hand.cutover()
    run_sql(database, "TRUNCATE item", "INSERT INTO item VALUES (1, 'last', 'x', 1)")
    hand.rollback()
    assert run_sql(database, "SELECT b FROM item") == [("last",)]


def test_ddl_pauses_the_move(database):
    """A column added behind the move's back pauses it; after resume it compares anew and goes on."""
    make(database, 500)
    hand = Hand(database)
    hand.there()
    run_sql(database, "ALTER TABLE item ADD extra int")
    assert "source" in refused("MOVE_PAUSED", hand.cutover).message
    assert hand.stage == "paused"
    run_sql(database, "ALTER TABLE item DROP extra")
    assert hand.resume() == "backfilling"
    hand.reconcile()
    hand.cutover()


def test_capture_that_is_switched_off_is_noticed(database):
    """A disabled trigger pauses the move, and resume refuses while it is off: writes since then are unknown."""
    make(database, 500)
    hand = Hand(database)
    hand.there()
    run_sql(
        database,
        "ALTER TABLE item DISABLE TRIGGER zz_lockgate_items_forward",
        "UPDATE item SET v = 'unseen' WHERE u = 3",
    )
    refused("MOVE_PAUSED", hand.cutover)
    refused("MOVE_STAGE", hand.resume)
    run_sql(database, "ALTER TABLE item ENABLE ALWAYS TRIGGER zz_lockgate_items_forward")
    hand.resume()
    error = refused("MOVE_DIVERGED", hand.reconcile)
    assert len(error.details["unexplained"]) == 1
    hand.resume()
    assert hand.reconcile(repair=True).repaired == 1
    hand.cutover()
    assert run_sql(database, "SELECT v FROM item WHERE u = 3") == [("unseen",)]


def test_replica_sessions_are_captured(database):
    """A session with session_replication_role = replica, whose ordinary triggers do not fire, is captured and barred."""
    make(database, 500)
    hand = Hand(database)
    hand.there()
    run_sql(
        database,
        "BEGIN; SET LOCAL session_replication_role = replica; UPDATE item SET v = 'quiet' WHERE u = 3; COMMIT",
    )
    hand.reconcile()
    hand.cutover()
    assert run_sql(database, "SELECT v FROM item WHERE u = 3") == [("quiet",)]
    with pytest.raises(psycopg.Error) as caught:
        run_sql(
            database,
            "BEGIN; SET LOCAL session_replication_role = replica; UPDATE item__items_old SET v = 'stray'; COMMIT",
        )
    assert caught.value.sqlstate == "LG010"


def test_the_side_that_does_not_serve_is_barred(database):
    """Target before the switch and old table after it refuse writes of anybody, from old snapshots too."""
    make(database, 300)
    hand = Hand(database)
    hand.there()
    for statement in (
        "UPDATE item_new SET v = 'x'",
        "DELETE FROM item_new",
        "TRUNCATE item_new",
        "INSERT INTO item_new VALUES (1, 'x')",
    ):
        with pytest.raises(psycopg.Error) as caught:
            run_sql(database, statement)
        assert caught.value.sqlstate == "LG010"
    with psycopg.connect(database) as old:
        old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT count(*) FROM pg_class")
        hand.cutover()
        with pytest.raises(psycopg.Error) as caught:
            old.execute("UPDATE item__items_old SET v = 'x'")
        assert caught.value.sqlstate == "LG010"


def test_poisoned_rows_stand_in_quarantine(database):
    """Rows that the target refuses are put aside one by one, block the cutover, and are copied once the cause is mended."""
    make(database, 1000)
    run_sql(
        database,
        "CREATE TABLE item_new (LIKE item INCLUDING ALL)",
        "ALTER TABLE item_new ADD CONSTRAINT tame CHECK (v <> 'wild')",
        "UPDATE item SET v = 'wild' WHERE u IN (5, 500)",
    )
    hand = Hand(database, accept=("constraints",))
    hand.start()
    assert hand.backfill().complete
    run_sql(database, "UPDATE item SET v = 'wild' WHERE u = 77", "UPDATE item SET v = 'fine' WHERE u = 78")
    hand.relay()
    held = refused("MOVE_QUARANTINE", hand.reconcile).details["quarantine"]
    assert sorted(row["key"][1] for row in held) == ["k5", "k500", "k77"]
    assert run_sql(database, "SELECT count(*), count(*) FILTER (WHERE v = 'fine') FROM item_new") == [
        (998, 1)
    ]
    run_sql(database, "UPDATE item SET v = 'tame' WHERE v = 'wild'")
    from lockgate.moves.quarantine import retry

    with hand.open() as move:
        assert retry(move) == 3
    hand.relay()
    hand.reconcile()
    hand.cutover()


def test_unique_values_that_wander(database):
    """Swaps and chains of unique values in batches of one entry each do not trip over each other."""
    make(database, 300)
    hand = Hand(database).with_limits(relay_rows=1, batch_rows=10)
    hand.start()
    hand.backfill()
    with psycopg.connect(database) as connection:
        for one, two in ((1, 2), (2, 3), (3, 4), (1, 4)):
            connection.execute("UPDATE item SET u = -1 WHERE u = %s", (one,))
            connection.execute("UPDATE item SET u = %s WHERE u = %s", (one, two))
            connection.execute("UPDATE item SET u = %s WHERE u = -1", (two,))
            connection.commit()
    hand.relay()
    assert hand.reconcile().equal
    assert run_sql(database, "SELECT b, u FROM item EXCEPT SELECT b, u FROM item_new") == []


def test_more_than_one_batch_waits_at_the_cutover(database):
    """Thousands of entries in the outbox when the cutover is called, far more than a batch: all are applied before the switch."""
    make(database, 3000)
    hand = Hand(database)
    hand.there()
    run_sql(database, "UPDATE item SET v = 'late'")
    turned = hand.cutover()
    assert turned.serves == "target"
    assert run_sql(database, "SELECT count(*) FROM item WHERE v = 'late'") == [(3000,)]


def test_a_blocker_holds_the_cutover_not_the_writers(database):
    """While a session holds the table for 1.5 s the cutover tries again and again: no writer waits longer than an attempt or so."""
    make(database, 1000)
    hand = Hand(database)
    hand.there()
    with psycopg.connect(database) as blocker, Load(database, 1000, writers=1) as load:
        blocker.execute("SELECT 1 FROM item LIMIT 1")
        result: list = []
        thread = threading.Thread(target=lambda: result.append(hand.cutover()))
        thread.start()
        load.go_on(20)
        end = time.monotonic() + 1.5
        until(lambda: time.monotonic() > end)
        blocker.rollback()
        thread.join()
        load.go_on(10)
    assert result[0].attempts > 1
    load.check(database)


def test_a_cutover_without_its_lock_changes_nothing(database):
    """A blocker that stays: exit by MOVE_LOCK that names it, the source serves, and the next call succeeds."""
    make(database, 300)
    hand = Hand(database).with_limits(lock_patience_seconds=1)
    hand.there()
    with psycopg.connect(database, application_name="stubborn") as blocker:
        blocker.execute("UPDATE item SET v = 'held' WHERE u = 1")
        error = refused("MOVE_LOCK", hand.cutover)
        assert [h["application"] for h in error.details["holders"]] == ["stubborn"]
        assert hand.stage == "ready"
        blocker.commit()
    hand.cutover()
    assert run_sql(database, "SELECT v FROM item WHERE u = 1") == [("held",)]


def test_sequences_go_on(database):
    """Identity and serial values go on after the cutover and after the rollback: no value is given twice."""
    run_sql(
        database,
        "CREATE TABLE item (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, s serial, v text)",
        "INSERT INTO item (v) SELECT 'a' FROM generate_series(1, 100)",
    )
    hand = Hand(database)
    hand.there()
    hand.cutover()
    run_sql(database, "INSERT INTO item (v) VALUES ('b')")
    hand.rollback()
    run_sql(database, "INSERT INTO item (v) VALUES ('c')")
    assert run_sql(database, "SELECT id, s FROM item WHERE v <> 'a' ORDER BY id") == [(101, 101), (102, 102)]


def test_mapped_columns_and_the_way_back(database):
    """Expressions make the new columns, [reverse] makes the old ones; generated columns are left to the server."""
    run_sql(
        database,
        "CREATE TYPE mood AS ENUM ('low', 'high')",
        "CREATE TABLE item (id int PRIMARY KEY, amount numeric(10,2) NOT NULL, name text, m text)",
        "INSERT INTO item SELECT g, g / 4.0, 'n' || g, 'low' FROM generate_series(1, 500) g",
        "CREATE TABLE item_new (id bigint PRIMARY KEY, cents bigint NOT NULL, name text, m mood, twice bigint GENERATED ALWAYS AS (cents * 2) STORED)",
    )
    hand = Hand(
        database,
        columns={"cents": "round(amount * 100)::bigint", "m": "m::public.mood"},
        reverse={"amount": "cents / 100.0", "m": "m::text"},
        target=None,
    )
    hand.there()
    run_sql(database, "UPDATE item SET amount = 1.5, m = 'high' WHERE id = 3")
    hand.cutover()
    assert run_sql(database, "SELECT cents, twice, m::text FROM item WHERE id = 3") == [(150, 300, "high")]
    run_sql(
        database,
        "INSERT INTO item (id, cents, name, m) VALUES (1000, 77, 'new', 'high')",
        "DELETE FROM item WHERE id = 4",
        "UPDATE item SET id = 2000 WHERE id = 5",
    )
    hand.rollback()
    assert run_sql(database, "SELECT amount::text, m FROM item WHERE id = 1000") == [("0.77", "high")]
    assert run_sql(database, "SELECT id FROM item WHERE id IN (4, 5, 2000)") == [(2000,)]


def test_types_across_two_databases(databases):
    """Enums with other oids, arrays, json, bytea, TOAST and another time zone on the other side: copied, compared and relayed."""
    source, target = databases(), databases()
    types = ("CREATE TYPE mood AS ENUM ('low', 'high')", "CREATE DOMAIN small AS int CHECK (value < 100000)")
    run_sql(target, "CREATE TYPE decoy AS ENUM ('x')")
    for url in (source, target):
        run_sql(url, *types)
    name = target.rpartition("/")[2]
    run_sql(
        target,
        f"ALTER DATABASE \"{name}\" SET timezone = 'Asia/Tokyo'",
        f"ALTER DATABASE \"{name}\" SET datestyle = 'German'",
        f'ALTER DATABASE "{name}" SET extra_float_digits = 0',
    )
    run_sql(
        source,
        "CREATE TABLE item (id uuid PRIMARY KEY, m mood, ms mood[], d small, f float8, t timestamptz, b bytea, j json, r int4range, big text, g int GENERATED ALWAYS AS (d * 2) STORED)",
        "INSERT INTO item SELECT gen_random_uuid(), 'low', '{low,high}', g, g / 3.0, now(), decode(md5(g::text), 'hex'), '{\"a\":  1}', int4range(g, g + 3), repeat(md5(g::text), 300) FROM generate_series(1, 700) g",
    )
    hand = Hand(source, target)
    hand.there()
    run_sql(
        source,
        "UPDATE item SET m = 'high', big = big || 'x', ms = NULL WHERE d % 10 = 0",
        "DELETE FROM item WHERE d % 11 = 0",
    )
    hand.cutover()
    run_sql(target, "UPDATE item SET m = NULL WHERE d % 10 = 0")
    hand.rollback()
    assert run_sql(source, "SELECT count(*) FROM item WHERE d % 10 = 0 AND m IS NOT NULL") == [(0,)]


def test_plan_refuses_early(database):
    """Everything that would fail later is named by the plan, each with its fix, and nothing is made."""
    run_sql(
        database,
        "CREATE TABLE item (id int PRIMARY KEY, a text NOT NULL, gone int)",
        "CREATE TABLE item_new (id int, a varchar(5), added int NOT NULL)",
        "CREATE TABLE child (id int REFERENCES item)",
        "CREATE VIEW shown AS SELECT * FROM item",
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE TRIGGER own BEFORE INSERT ON item_new FOR EACH ROW EXECUTE FUNCTION f()",
    )
    hand = Hand(database)
    problems = "\n".join(p["what"] for p in hand.plan().problems)
    for words in (
        "no unique index on exactly (id)",
        "item.gone has no place",
        "added is NOT NULL and nothing gives it a value",
        "is text in the source and character varying(5)",
        "foreign keys point at item",
        "views read item",
        "item_new has triggers (own)",
    ):
        assert words in problems, words
    assert refused("MOVE_REFUSED", hand.start).details["problems"]
    assert run_sql(database, "SELECT to_regclass('lockgate.outbox_items_forward')") == [(None,)]
    run_sql(database, "CREATE TABLE nokey (v int)")
    other = Hand(database)
    other.declared = msgspec.structs.replace(
        other.declared, source=Source("nokey"), target=TargetSide("x", create=True)
    )
    assert any("no primary key" in p["what"] for p in other.plan().problems)


def test_one_table_in_two_moves_is_refused(database):
    """A table that is being moved cannot enter a second move."""
    make(database, 100)
    Hand(database).start()
    other = Hand(database, name="again")
    run_sql(database, "CREATE TABLE item_2 (LIKE item INCLUDING ALL)")
    other.declared = msgspec.structs.replace(other.declared, target=TargetSide("item_2"))
    assert "already in the move items" in refused("MOVE_REFUSED", other.start).message


def test_a_changed_declaration_is_refused(database):
    """The file says something else than when the move began: refused; limits may change."""
    make(database, 100)
    hand = Hand(database)
    hand.start()
    hand.with_limits(batch_rows=7)
    hand.backfill()
    hand.declared = msgspec.structs.replace(hand.declared, one_way=True)
    refused("MOVE_CHANGED", hand.reconcile)


def test_divergence_aborts_where_it_is_declared(database):
    """on_divergence = pause pauses; the divergent keys stand in the record."""
    make(database, 300)
    hand = Hand(database, gates=Gates(on_divergence="pause"))
    hand.start()
    hand.backfill()
    run_sql(
        database,
        "BEGIN; SET LOCAL lockgate.feed = 'items'; UPDATE item_new SET v = 'odd' WHERE u = 9; COMMIT",
    )
    refused("MOVE_DIVERGED", hand.reconcile)
    assert hand.stage == "paused"
    assert run_sql(
        database,
        "SELECT evidence->'unexplained'->0->>'kind' FROM lockgate.move_event WHERE kind = 'divergence'",
    ) == [("changed",)]


def test_extension_types_across_two_databases(databases):
    """A column of an extension's type, whose oid is another one on the other side, is copied, relayed and compared without a false difference."""
    source, target = databases(), databases()
    run_sql(target, "CREATE TYPE before_it AS ENUM ('a')", "CREATE EXTENSION vector")
    run_sql(
        source,
        "CREATE EXTENSION vector",
        "CREATE TABLE item (id bigint PRIMARY KEY, e vector(3), es vector(3)[])",
        "INSERT INTO item SELECT g, ARRAY[g, g / 3.0, -g]::vector, ARRAY[ARRAY[1, 2, g]::vector]::vector[] FROM generate_series(1, 500) g",
    )
    oid = "SELECT oid::int FROM pg_type WHERE typname = 'vector'"
    assert run_sql(source, oid) != run_sql(target, oid)
    hand = Hand(source, target)
    hand.start()
    hand.backfill()
    run_sql(source, "UPDATE item SET e = '[9,9,9]' WHERE id = 7", "DELETE FROM item WHERE id = 8")
    hand.reconcile()
    hand.cutover()
    assert run_sql(target, "SELECT count(*), max(e::text) FILTER (WHERE id = 7) FROM item") == [
        (499, "[9,9,9]")
    ]
