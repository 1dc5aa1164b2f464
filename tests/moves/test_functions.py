"""Python functions as columns of moves that triggers capture: what the target holds is always what the function gives, or the move stands still and says why."""

import random
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lockgate.errors import LockgateError, Refused
from lockgate.moves.declaration import IN_PLACE, Declaration, Source, TargetSide, problems
from lockgate.moves.transforms import Transform
from lockgate.postgres.link import Link
from lockgate.postgres.moves import switch
from lockgate.postgres.moves.made import UNMADE
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from moves import shop
from moves.hand import Hand, make
from support.calls import Project
from support.processes import until
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")
TAGGED = Transform("moves.shop:tagged", "2", ("v", "u"))
UNTAGGED = Transform("moves.shop:untagged", "1", ("v",))
BOTH = {"columns": {"v": TAGGED, "n": "n * 2"}, "reverse": {"v": UNTAGGED, "n": Transform("moves.shop:halved", "1", ("n",))}}  # fmt: skip
OWNED = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname = 'lockgate' AND (relname LIKE 'made_items%' OR relname LIKE 'outbox_items%')"


@pytest.fixture(autouse=True)
def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """The functions as they are written, whatever a test did to them."""
    monkeypatch.setattr(shop, "refused", set())
    monkeypatch.setattr(shop, "mood", [""])


class Writing(threading.Thread):
    """Inserts, updates (to NULL too), deletes and swaps on the source, until it is stopped."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url, self.stop, self.written, self.error = url, threading.Event(), 0, ""

    def run(self) -> None:
        rng = random.Random(7)
        with psycopg.connect(self.url, autocommit=True) as connection:
            while not self.stop.wait(0.002):
                u = rng.randrange(1, 400)
                word = None if u % 9 == 0 else f"w{rng.randrange(1000)}"
                what = rng.random()
                try:
                    if what < 0.6:
                        connection.execute("UPDATE item SET v = %s WHERE u = %s", (word, u))
                    elif what < 0.8:
                        connection.execute("INSERT INTO item (a, b, v, u, n) VALUES (%s, %s, %s, %s, 1) ON CONFLICT DO NOTHING", (u % 7, f"n{u}", word, u + 1000))  # fmt: skip
                    else:
                        connection.execute("DELETE FROM item WHERE u = %s", (u,))
                except psycopg.Error as error:
                    self.error = str(error)
                    return
                self.written += 1


def rows(url: str, table: str) -> dict[tuple[int, str], tuple[Any, ...]]:
    """(v, u, n) by key."""
    return {(a, b): (v, u, n) for a, b, v, u, n in run_sql(url, f"SELECT a, b, v, u, n FROM {table}")}


def drained_at_once(hand: Hand) -> int:
    """Drain as under the lock of a cutover, in one transaction, and compare what was drained; how many keys that were."""
    with hand.open() as move, ExitStack() as stack:
        relay = move.relay(move.layout(move.row()).forward)
        stack.enter_context(relay.exclusive(5))
        switch.prepare(relay)
        for link in move.links:
            stack.enter_context(link.transaction())
            link.run("SET LOCAL lockgate.feed = 'items'")
        drained, _ = switch.drain_and_check(relay, switch.Limits(50, 20, 60_000), 0.0, lambda: 0.0)
        return drained


def made_of(source: dict[tuple[int, str], tuple[Any, ...]]) -> dict[tuple[int, str], tuple[Any, ...]]:
    """What the target has to hold."""
    return {k: (shop.tagged(v, u), u, None if n is None else n * 2) for k, (v, u, n) in source.items()}


@pytest.mark.parametrize("across", [False, True], ids=["one database", "two databases"])
def test_the_whole_way_under_writes(database: str, databases: Callable[[], str], across: bool):
    """Copied, relayed, proven, switched, back, switched again and finished while somebody writes: the target holds what the functions make of the source, row for row, the source what comes back, and nothing of it is left behind."""
    make(database, 400)
    other = databases() if across else None
    hand = Hand(database, other, **BOTH).with_limits(batch_rows=40)
    planned = hand.plan()
    assert planned.problems == []
    assert planned.columns["v"] == "moves.shop:tagged 2"
    hand.start()
    writing = Writing(database)
    writing.start()
    try:
        assert hand.backfill().complete
        seen = writing.written
        until(lambda: writing.written > seen + 50 or writing.error)
        hand.relay()
        assert hand.reconcile().equal
    finally:
        writing.stop.set()
        writing.join()
    assert not writing.error
    run_sql(database, "UPDATE item SET v = 'at the last moment' WHERE u BETWEEN 20 AND 60", "DELETE FROM item WHERE u = 61")  # fmt: skip
    assert drained_at_once(hand) > 0
    hand.cutover()
    old, new = ("item", "item") if across else ("item__items_old", "item")
    there = other or database
    hand.relay()
    assert rows(there, new) == made_of(rows(database, old))
    run_sql(there, "UPDATE item SET v = '3:after', n = 14 WHERE u = 8", "INSERT INTO item (a, b, v, u, n) VALUES (1, 'late', '0:late', 5000, 3.0)")  # fmt: skip
    hand.rollback()
    back = rows(database, "item")
    assert back[1, "late"][0] == "late"
    assert back[1, "k8"][::2] == ("after", 7) if (1, "k8") in back else True
    hand.start()
    assert hand.backfill().complete
    hand.reconcile()
    hand.cutover()
    hand.finish(now=True)
    assert rows(there, new)[1, "late"] == ("0:late", 5000, 3)
    for url in {database, there}:
        assert run_sql(url, OWNED) == [(0,)]


@pytest.mark.parametrize("across", [False, True], ids=["one database", "two databases"])
def test_a_row_that_the_function_refuses(database: str, databases: Callable[[], str], monkeypatch: pytest.MonkeyPatch, across: bool):  # fmt: skip
    """A row that it raises for stands in quarantine with the reason, whether it was copied or written; all others are there; once the function is mended --retry calls it again."""
    monkeypatch.setattr(shop, "refused", {"v77", "poison"})
    make(database, 200)
    other = databases() if across else None
    hand = Hand(database, other, **BOTH).with_limits(batch_rows=40)
    assert any("tagged" not in note and "has no tag" in note for note in hand.plan().notes)
    hand.start()
    assert hand.backfill().complete
    run_sql(database, "UPDATE item SET v = 'poison' WHERE u = 5")
    hand.relay()
    held = run_sql(database, "SELECT key[2], message FROM lockgate.move_quarantine ORDER BY 1")
    assert [k for k, _ in held] == ["k5", "k77"]
    assert all("ValueError" in m and "has no tag" in m for _, m in held)
    with pytest.raises(LockgateError) as caught:
        hand.reconcile()
    assert caught.value.code == "MOVE_QUARANTINE"
    monkeypatch.setattr(shop, "refused", set())
    from lockgate.moves.quarantine import retry

    with hand.open() as move:
        assert retry(move) == 2
    assert hand.reconcile().equal
    table = "item" if across else "item_new"
    assert rows(other or database, table) == made_of(rows(database, "item"))


def test_nothing_stands_in_for_the_function(database: str):
    """Inputs that it was not called with are an error of the server, never NULL; a row that came past the capture is made in the proof and differs; emptied under the move, all is called again."""
    make(database, 60)
    hand = Hand(database, **BOTH)
    hand.start()
    with closing(Link(Target(database, source="t"), "t")) as link:
        with pytest.raises(ServerError) as caught:
            link.rows("SELECT lockgate.make_items_forward('v', '[\"unheard\", \"1\"]')")
        assert caught.value.sqlstate == UNMADE
    assert hand.backfill().complete
    run_sql(database, "DELETE FROM lockgate.made_items_forward", "UPDATE item SET v = 'new' WHERE u = 4")
    assert hand.reconcile().equal
    run_sql(
        database,
        "ALTER TABLE item DISABLE TRIGGER zz_lockgate_items_forward",
        "UPDATE item SET v = 'past it' WHERE u = 9",
        "ALTER TABLE item ENABLE ALWAYS TRIGGER zz_lockgate_items_forward",
    )
    with pytest.raises(LockgateError) as caught_:
        hand.reconcile()
    assert caught_.value.code == "MOVE_DIVERGED"
    assert caught_.value.details["unexplained"] == [{"key": ["2", "k9"], "kind": "changed"}]
    hand.abort()
    assert run_sql(database, OWNED) == [(0,)]


def test_a_function_that_changed_its_mind(database: str):
    """Under the version that rows were copied with it gives something else today: the proof calls it again for everything and is refused, though every digest of the servers is equal."""
    make(database, 60)
    words = {"columns": {"v": Transform("moves.shop:moody", "1", ("v",))}, "one_way": True}
    hand = Hand(database, **words)
    hand.start()
    assert hand.backfill().complete
    assert hand.reconcile().equal
    shop.mood[0] = "!"
    with pytest.raises(Refused, match="gives another value for v") as caught:
        hand.reconcile()
    assert caught.value.code == "MOVE_TRANSFORM"


def test_another_version(database: str):
    """Code of another version than declared makes no row: plan names it, backfill, proof and cutover are refused; abort needs no function."""
    make(database, 60)
    hand = Hand(database, **BOTH)
    hand.start()
    before = shop.tagged.lockgate_version
    try:
        shop.tagged.lockgate_version = "3"
        assert "is of version '3'" in hand.plan().problems[0]["what"]
        for call in (hand.backfill, hand.relay):
            with pytest.raises(Refused) as caught:
                call()
            assert caught.value.code == "MOVE_TRANSFORM"
        assert run_sql(database, "SELECT count(*) FROM item_new") == [(0,)]
        hand.abort()
    finally:
        shop.tagged.lockgate_version = before
    assert hand.stage == "aborted"


@pytest.mark.parametrize(
    ("columns", "reverse", "told"),
    [
        ({"v": Transform("moves.shop:numbered", "1", ("v",))}, {"v": UNTAGGED}, "does not give the same twice"),
        ({"v": Transform("moves.shop:louder", "1", ("v",))}, {"v": Transform("moves.shop:moody", "1", ("v",))}, "the way back is lossy"),
        ({"v": Transform("moves.shop:tagged", "2", ("v", "nothere"))}, {"v": UNTAGGED}, "has no column nothere"),
        ({"v": Transform("moves.shop:nobody", "2", ("v",))}, {"v": UNTAGGED}, "cannot be loaded"),
        ({"a": Transform("moves.shop:untagged", "1", ("b",))}, {"a": UNTAGGED}, "the key is copied as it is"),
    ],
)  # fmt: skip
def test_it_is_refused_before_anything_is_made(database: str, columns: dict, reverse: dict, told: str):
    """A function that does not give the same twice, a way back that loses, columns that are not there, no function of the name, a key: each is named by the plan, and nothing is made."""
    make(database, 60)
    planned = Hand(database, columns=columns, reverse=reverse).plan()
    assert any(told in p["what"] for p in planned.problems), planned.problems
    assert all(p["fix"] for p in planned.problems)
    assert run_sql(database, OWNED) == [(0,)]


def test_where_no_function_can_be(tmp_path: Path):
    """A move in place, whose triggers keep both sides in step, and one that reads from a replica are refused in the file, with what to do."""
    one = Declaration(Source("item", "READ"), TargetSide("item_new"), columns={"v": TAGGED}, one_way=True)
    assert any("replica_env" in p for p in problems(one))
    file = tmp_path / "x.toml"
    file.write_text(
        f'kind = "{IN_PLACE}"\none_way = true\n[source]\ntable = "item"\n[target]\ntable = "item"\n'
        '[columns]\nv = { python = "moves.shop:tagged", version = "2", of = ["v", "u"] }\n[sync]\ntriggers = ["t"]\n'
    )
    from lockgate.moves.declaration import parse

    with pytest.raises(LockgateError, match="names a Python function") as caught:
        parse(file, "x")
    assert caught.value.next.startswith("Write it as SQL")


def test_the_command(tmp_path: Path, database: str):
    """`lockgate move` with a function in the project's folder, copied by processes: from plan to finish the target holds what it makes."""
    make(database, 200)
    project = Project(tmp_path, database)
    (tmp_path / "moves").mkdir()
    (tmp_path / "shop_words.py").write_text(
        "from lockgate.moves.transforms import transform\n\n@transform(version='2026-11')\ndef longer(v):\n    return (v or 'none') + '!'\n"
    )
    (tmp_path / "moves" / "items.toml").write_text(
        'one_way = true\n[source]\ntable = "item"\n[target]\ntable = "item_new"\ncreate = true\n'
        '[columns]\nv = { python = "shop_words:longer", version = "2026-11", of = ["v"] }\n'
        "[limits]\nbatch_rows = 50\nmax_connections_percent = 100\nmax_lock_waiters = 1000\n"
    )
    planned = project.ok("move", "move", "plan", "items")
    assert planned["result"]["columns"]["v"] == "shop_words:longer 2026-11"
    assert project.ok("move", "move", "run", "items", "--executor", "processes")["stage"] == "reconciled"
    assert project.ok("move", "move", "cutover", "items")["serves"] == "target"
    assert run_sql(database, "SELECT count(*) FROM item WHERE v = 'v' || u || '!'") == [(200,)]
    assert project.ok("move", "move", "finish", "items", "--now")["stage"] == "finished"
    assert run_sql(database, OWNED) == [(0,)]
