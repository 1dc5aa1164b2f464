"""Moves between stores without triggers: every write by ``DualWriter`` arrives once and in order, whatever fails on the way."""

import random
import sqlite3
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.errors import LockgateError, Refused
from lockgate.moves.declaration import Gates, Reference
from lockgate.moves.dual import DualWriter, drive, turning
from lockgate.moves.dual.copy import LIVE_SECONDS, backfill, missing_writers
from lockgate.moves.dual.created import create_sql, would_be
from lockgate.moves.dual.declaration import DualDeclaration, Place, is_dual, problems
from lockgate.record import points
from lockgate.stores.making import Field, Given
from lockgate.stores.open import open_store
from lockgate.stores.side import Op, Side, Writer, key_id
from lockgate.stores.speaking import speak
from stores.conftest import COLUMNS
from stores.hand import Hand, declared, row
from stores.test_conformance import ROWS
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")
PAIRS = [("postgres", "mysql"), ("mysql", "sqlite"), ("sqlite", "postgres")]
"""Each is walked in both directions, so together they are every way between two engines."""


BESIDE = [("postgres", "beside"), ("mysql", "beside")]
"""Within one database, by two URLs in different words."""


@pytest.mark.parametrize(("one", "other"), [*PAIRS, *BESIDE], ids=lambda k: k)
def test_the_whole_way_under_writes(hand, one: str, other: str):
    """start, backfill, verify, cutover, rollback, cutover, finish between two engines, and within one database, while two threads write: every acknowledged write is on the serving side, on both before the end."""
    move: Hand = hand(one, other)
    move.call(drive.start, operator="t")
    acknowledged: dict[int, str | None] = {
        n: None if n % 5 == 0 else f"u{n}" for n in range(1, len(ROWS) + 1)
    }
    gone: set[int] = set()
    stop = threading.Event()
    errors: list[BaseException] = []
    written = [0]

    def write(seed: int) -> None:
        rng = random.Random(seed)
        try:
            with move.writer(instance=f"w{seed}") as writer:
                writer.beat()
                while not stop.is_set():
                    number = rng.randrange(1, 80) * 2 + seed
                    if rng.random() < 0.3:
                        writer.delete({"id": number})
                        gone.add(number)
                        acknowledged.pop(number, None)
                    else:
                        word = f"w{rng.random()}"
                        writer.put(row(number, word))
                        gone.discard(number)
                        acknowledged[number] = word
                    written[0] += 1
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    try:
        _until(lambda: written[0] > 10 or errors)
        assert move.call(backfill).rows > 0  # type: ignore[attr-defined]
        move.call(drive.reconcile)
        turned = move.call(turning.turn, forward=True)
        assert turned.serves == "target"  # type: ignore[attr-defined]
        now = written[0]
        _until(lambda: written[0] > now + 5 or errors)
        assert move.call(turning.turn, forward=False).serves == "source"  # type: ignore[attr-defined]
        now = written[0]
        _until(lambda: written[0] > now + 5 or errors)
        move.call(drive.start, operator="t")
        move.call(backfill)
        move.call(drive.reconcile)
        move.call(turning.turn, forward=True)
        now = written[0]
        _until(lambda: written[0] > now + 5 or errors)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not errors
    move.call(drive.relay)
    expected = {str(n): word for n, word in acknowledged.items()}
    for which in ("target", "source"):
        seen = {
            k.removeprefix("i:"): image[0] and image[0].removeprefix("s:")
            for k, image in move.state(which).items()
        }
        assert seen == expected, which
    move.call(drive.finish, now=True)
    with move.writer() as writer:
        writer.put(row(9000, "after the end"))
    assert any(k.endswith("9000") for k in move.state("target"))
    assert not any(k.endswith("9000") for k in move.state("source"))


def test_one_file_of_sqlite_is_refused(hand):
    """A file of SQLite has one lock for both sides: plan, start and the writer refuse it, also where the URLs name it in different words."""
    move: Hand = hand("sqlite", "beside")
    assert move.places.source != move.places.target
    (problem,) = move.call(drive.plan).problems  # type: ignore[attr-defined]
    assert "one file of SQLite" in problem["what"]
    with pytest.raises(Refused) as caught:
        move.call(drive.start, operator="t")
    assert caught.value.next == problem["fix"] == "Let target.url_env name another file."
    with move.writer() as writer, pytest.raises(Refused, match="one file of SQLite"):
        writer.put(row(900, "lost"))


@pytest.mark.parametrize("kind", ["postgres", "mysql", "sqlite"])
def test_one_table_by_two_urls_is_refused(hand, kind: str):
    """URLs in different words that lead to one table are refused by plan and writer."""
    move: Hand = hand(kind, "beside")
    move.declared = msgspec.structs.replace(move.declared, target=Place("t", "OTHER"))
    (problem,) = move.call(drive.plan).problems  # type: ignore[attr-defined]
    assert problem["what"] == "source and target are one table"
    with move.writer() as writer, pytest.raises(Refused, match="one table"):
        writer.put(row(900, "lost"))


def test_a_row_has_the_columns_of_the_side_that_serves(hand):
    """With mapped columns the writer tells in each transaction which side's columns it takes; those of the other side are refused with what to do."""
    move: Hand = hand("postgres", "beside", columns={"cents": "n * 100"}, reverse={"n": "cents / 100"}, writers=0)  # fmt: skip
    run_sql(
        move.places.target,
        "ALTER TABLE t_new DROP COLUMN n",
        "ALTER TABLE t_new ADD COLUMN cents numeric",
    )

    def write(writer: DualWriter, number: int) -> str:
        with writer.transaction() as tx:
            amount = {"n": Decimal("1.5")} if tx.serves == "source" else {"cents": Decimal(150)}
            tx.put({"id": number, "u": "new", **amount})
            return tx.serves

    with move.writer() as writer:
        assert write(writer, 900) == "source"  # before the move there is one side
        move.call(drive.start, operator="t")
        assert write(writer, 901) == "source"
        move.call(backfill)
        move.call(drive.reconcile)
        move.call(turning.turn, forward=True)
        assert write(writer, 902) == "target"
        with pytest.raises(ValueError, match=r"the target of the move things, serves and has no column n; its columns: id, .*cents.* Write\.serves"):  # fmt: skip
            writer.put({"id": 903, "n": Decimal(1)})
        move.call(turning.turn, forward=False)
        assert write(writer, 904) == "source"
    assert run_sql(move.places.source, "SELECT id, n::float FROM t WHERE id >= 900 ORDER BY id") == [(n, 1.5) for n in (900, 901, 902, 904)]  # fmt: skip


def _until(condition: Callable[[], object]) -> None:
    from support.processes import until

    until(condition, 60)


def test_a_second_leg_that_fails_waits(hand, database: str):
    """A target that is away or refuses: the write is acknowledged, its operation waits and is counted; later it is carried, newest wins, nothing is lost."""
    move: Hand = hand("sqlite", "sqlite")
    move.call(drive.start, operator="t")
    target = Path(move.places.target.removeprefix("sqlite:///"))
    with move.writer() as writer:
        writer.put(row(500, "before"))
        blocker = sqlite3.connect(target, isolation_level=None)
        blocker.execute("CREATE TRIGGER no BEFORE INSERT ON t BEGIN SELECT RAISE(ABORT, 'not today'); END")
        writer.put(row(501, "one"))
        writer.put(row(501, "two"))
        writer.delete({"id": 500})
        assert writer.failed == 2
        with move.open() as opened_:
            assert opened_.pair.source.backlog() == (2, 2)
            with pytest.raises(LockgateError, match="cannot be brought"):
                drive.drained(opened_, opened_.pair.source, opened_.pair.target)
        held = run_sql(database, "SELECT key, message FROM lockgate.move_quarantine")
        assert [k for k, _ in held] == [["i:501"]]
        assert "not today" in held[0][1]
        blocker.execute("DROP TRIGGER no")
        blocker.close()
        assert move.call(drive.relay).done == 2  # type: ignore[attr-defined]
        assert not run_sql(database, "SELECT key FROM lockgate.move_quarantine")
    state = move.state("target")
    assert state["i:501"][0] == "s:two"
    assert "i:500" not in state


def test_operations_carry_their_numbers(hand):
    """An op_id that comes again changes nothing; each operation records its revision on both sides, and a delete leaves a tombstone that keeps an older image out."""
    move: Hand = hand("sqlite", "mysql")
    move.call(drive.start, operator="t")
    with move.writer() as writer:
        assert writer.put(row(700, "a"), op_id="order-1")
        assert not writer.put(row(700, "b"), op_id="order-1")
        assert writer.put(row(700, "c"), op_id="order-2")
        assert writer.delete({"id": 700}, op_id="order-3")
    with move.open() as opened_:
        source, target = opened_.pair.source, opened_.pair.target
        ops = source.speaker.ask(
            f"SELECT op_id, source_rev, target_rev, index_hash, state FROM {source._side('op')} ORDER BY op_id"
        )
        assert ops == [("order-1", 1, 1, "", 1), ("order-2", 2, 2, "", 1), ("order-3", 3, 3, "", 1)]
        late = Op("late", ("700",), ("700", *[None] * 9), 2)
        with target.transaction():
            assert target.apply([late], COLUMNS) == {key_id(("700",)): 3}
    assert "700" not in move.state("target")


def test_nothing_is_copied_before_every_instance_writes(hand):
    """Without a writer that was seen, and with fewer than declared, the backfill is refused and nothing is copied."""
    move: Hand = hand("sqlite", "sqlite", writers=2)
    move.call(drive.start, operator="t")
    with move.writer(instance="one") as writer:
        writer.beat()
        with pytest.raises(LockgateError) as caught:
            move.call(backfill)
        assert caught.value.code == "MOVE_REFUSED"
        assert "1 of 2 writers" in caught.value.message
    assert move.state("target") == {}
    assert missing_writers(1, [Writer("a", LIVE_SECONDS + 1, 0)], []) != ""
    assert missing_writers(1, [Writer("a", 1, 0)], []) == ""
    assert "b" in missing_writers(1, [Writer("a", 1, 0)], ["a", "b"])


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
def test_batches_follow_the_order_of_the_key(hand, kind: str):
    """The end of a batch is the key that stands so many rows above its beginning, by the key's own order and not by that of its text."""
    move: Hand = hand(kind, "sqlite")
    with move.open() as opened_:
        source = opened_.pair.source
        assert source.boundary(None, 40) == ("40",)
        assert source.boundary(("40",), 40) == ("80",)
        assert source.boundary(("80",), 40) == ("119",)
        assert source.boundary(("119",), 40) is None


class Died(BaseException):
    """The process ends here."""


@pytest.mark.parametrize(
    "place", ["dual:apply:commit", "dual:done", "dual:barred", "dual:opened", "dual:batch:destination-commit"]
)
def test_cut_off_anywhere(hand, place: str):
    """Cut off at each point of backfill, second leg and switch, the same call goes on: both sides are equal, and each range stands in the ledger once."""
    move: Hand = hand("sqlite", "sqlite")
    move.call(drive.start, operator="t")
    with move.writer() as writer:
        writer.beat()
        died = [0]

        def hook(name: str) -> None:
            if name == place and not died[0]:
                died[0] = 1
                raise Died

        steps: list[Callable[[], object]] = [
            lambda: move.call(backfill),
            lambda: writer.put(row(77, "x")),
            lambda: move.call(drive.reconcile),
            lambda: move.call(turning.turn, forward=True),
        ]
        for step in steps:
            points.install(hook)
            try:
                step()
                continue
            except Died:
                pass
            finally:
                points.install(None)
            step()
        assert died[0]
        writer.put(row(78, "y"))
    move.call(drive.relay)
    assert move.state("source") == move.state("target")
    assert move.state("target")["i:78"][0] == "s:y"


@pytest.mark.parametrize("forward", [True, False], ids=["cutover", "rollback"])
@pytest.mark.parametrize("place", ["dual:barred", "dual:recorded", "dual:opened"])
def test_the_record_of_a_switch_beside_the_store(places, place: str, forward: bool):
    """Where the side that opens stands in the ledger's database, its switch and the stage are one transaction: cut off anywhere neither is there without the other, and the same call brings it to its end."""
    one, other = places("postgres"), places("sqlite")
    source, target = (other, one) if forward else (one, other)
    source.fill(ROWS)
    move = Hand(source, target, one.url, writers=0)
    move.call(drive.start, operator="t")
    move.call(backfill)
    move.call(drive.reconcile)
    if not forward:
        move.call(turning.turn, forward=True)
    died: list[str] = []

    def hook(name: str) -> None:
        if name == place and not died:
            died.append(name)
            raise Died

    points.install(hook)
    try:
        with pytest.raises(Died):
            move.call(turning.turn, forward=forward)
    finally:
        points.install(None)
    wanted = "target" if forward else "source"

    def serving() -> tuple[bool, str]:
        with move.open() as opened_:
            switch_ = getattr(opened_.pair, wanted).switch()
            return switch_.serves == wanted and opened_.row().stage in ("tail", "rolled_back"), switch_.serves

    before = serving()
    assert before[0] is (before[1] == wanted) is (place == "dual:opened")
    assert move.call(turning.turn, forward=forward).serves == wanted
    assert serving() == (True, wanted)
    with move.open() as opened_:
        assert {opened_.pair.source.switch().serves, opened_.pair.target.switch().serves} == {wanted}
        assert opened_.row().cutover_ms
    with move.writer() as writer:
        writer.put(row(900, "after it"))
        assert writer.failed == 0
    assert move.state("source").keys() == {k.removeprefix("i:") for k in move.state("target")}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 9), st.booleans()), max_size=40),
    st.randoms(use_true_random=False),
)
def test_any_order_and_repetition(tmp_path_factory, changes, rng):
    """Images and tombstones in any order, any number of times, in any batches: the target ends as the last revision of each key."""
    file = tmp_path_factory.mktemp("side") / "x.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT)")
    connection.close()
    store = open_store(f"sqlite:///{file}", "test", "t")
    fields = [Field("id", "integer", ""), Field("u", "text", "")]
    side = Side(
        speak(f"sqlite:///{file}", "test", "t"),
        "m",
        store.describe("t"),
        ("id",),
        fields,
        [Given("id", '"id"', "integer", ""), Given("u", '"u"', "text", "")],
    )
    store.close()
    side.create()
    last: dict[int, int] = {}
    ops, expected = [], {}
    for number, word, dead in changes:
        last[number] = last.get(number, -1) + 1
        image = None if dead else (str(number), f"{word}@{last[number]}")
        ops.append(Op(f"{number}-{last[number]}", (str(number),), image, last[number]))
        expected[number] = image
    sent = ops + rng.sample(ops, len(ops) // 2)
    rng.shuffle(sent)
    while sent:
        cut = rng.randint(1, len(sent))
        with side.transaction():
            side.apply(sent[:cut], ["id", "u"])
        sent = sent[cut:]
    seen = dict(side.rows([(str(n),) for n in expected], ["id", "u"]))
    assert seen == {(str(n),): image for n, image in expected.items() if image}
    side.speaker.close()


@pytest.mark.parametrize(
    ("one", "other"), [("postgres", "mysql"), ("mysql", "sqlite"), ("sqlite", "postgres")]
)
def test_commands(places, database: str, tmp_path: Path, one: str, other: str):
    """`lockgate move` on a dual-written file: plan, start (which makes the target's table), run, cutover, status, rollback, abort, each with a valid document."""
    source, target = places(one), places(other)
    source.fill(ROWS)
    target.run("DROP TABLE t")
    project = declared(tmp_path, database, source, target, side="create = true\n")
    file = tmp_path / "moves" / "things.toml"
    planned = project.ok("move", "move", "plan", "things")
    assert planned["result"]["problems"] == []
    assert not planned["result"]["targetExists"]
    assert project.ok("move", "move", "start", "things")["stage"] == "dual_write"
    assert project.ok("move", "move", "run", "things")["stage"] == "reconciled"
    with DualWriter.from_file(file, project.environ) as writer:
        writer.put(row(800, "by the application"))
        assert project.ok("move", "move", "cutover", "things")["serves"] == "target"
        writer.put(row(801, "on the other side"))
        assert project.json("move", "finish", "things").error("MOVE_WINDOW")["exitCode"] == 4
        assert project.ok("move", "move", "rollback", "things")["serves"] == "source"
        writer.put(row(802, "and back"))
    status = project.ok("move", "move", "status")
    assert [(m["name"], m["stage"]) for m in status["moves"]] == [("things", "rolled_back")]
    assert project.ok("move", "move", "abort", "things")["stage"] == "aborted"
    assert "aborted" in project.text("move", "status").out
    found = project.json("move", "verify", "--source", source.url, "--target", target.url, "--table", "t")
    assert found.document("move-verify")["equal"]


@pytest.mark.parametrize(("one", "other"), [("postgres", "postgres"), ("sqlite", "mysql")])
def test_a_diverged_move_is_not_cut_over(places, database: str, tmp_path: Path, one: str, other: str):
    """A row that was written past DualWriter: cutover and run are refused until a proof is clean again, and then the target serves that row."""
    source, target = places(one), places(other)
    source.fill(ROWS)
    target.fill([])
    project = declared(tmp_path, database, source, target)
    project.ok("move", "move", "run", "things")
    source.run("UPDATE t SET u = 'past it' WHERE id = 7")
    assert project.json("move", "verify", "things").error("MOVE_DIVERGED")["exitCode"] == 1
    for words in (("cutover", "things"), ("run", "things"), ("run", "things", "--cutover")):
        assert project.json("move", *words).error("MOVE_PAUSED")["exitCode"] == 5
    assert project.ok("move", "move", "status", "things")["moves"][0]["serves"] == "source"
    assert project.ok("move", "move", "resume", "things")["stage"] == "backfilling"
    assert project.json("move", "cutover", "things").error("MOVE_STAGE")["exitCode"] == 4
    assert project.json("move", "run", "things").error("MOVE_DIVERGED")["exitCode"] == 1
    assert project.ok("move", "move", "verify", "things", "--repair")["result"]["repaired"] == 1
    assert project.ok("move", "move", "cutover", "things")["serves"] == "target"
    held = project.json("move", "verify", "--source", source.url, "--target", target.url, "--table", "t")
    assert held.document("move-verify")["equal"]
    assert "are equal" not in project.text("move", "run", "things").out
    run_sql(
        database,
        "INSERT INTO lockgate.move_event (move, kind, from_stage, to_stage, reason, operator, evidence) VALUES ('things', 'divergence', '', '', '1 row differs', 'test', '{}')",
    )
    told = project.json("move", "finish", "things", "--now").error("MOVE_DIVERGED")["next"]
    assert told == "lockgate move verify things --repair"
    assert project.json("move", "rollback", "things").error("MOVE_DIVERGED")["next"].startswith(told)
    assert project.ok("move", "move", "verify", "things")["stage"] == "tail", "it was compared, and is equal"
    assert project.ok("move", "move", "rollback", "things", "--accept", "7")["serves"] == "source"


def test_a_proof_that_failed_counts_without_a_pause(hand):
    """Where the declaration asks for no pause the stage tells nothing of a difference; the cutover is refused by what the last proof found, until one is clean."""
    move: Hand = hand("postgres", "sqlite", writers=0, gates=Gates(on_divergence="abort"))
    move.call(drive.start, operator="t")
    move.call(backfill)
    move.call(drive.reconcile)
    with move.open() as opened_:
        opened_.pair.target.speaker.do("UPDATE t SET u = 'changed behind it' WHERE id = 7")
    for step in (lambda: move.call(drive.reconcile), lambda: move.call(turning.turn, forward=True)):
        with pytest.raises(LockgateError) as caught:
            step()
        assert caught.value.code == "MOVE_DIVERGED"
    assert move.call(drive.reconcile, repair=True).repaired == 1
    assert move.call(turning.turn, forward=True).serves == "target"


def test_what_the_barrier_finds_is_not_forgotten(hand):
    """A row that differs after the drain stops the cutover; what was drained waits no more, so the next call is refused by what was written down, until a repair is clean."""
    move: Hand = hand("postgres", "sqlite", writers=0)
    move.call(drive.start, operator="t")
    move.call(backfill)
    move.call(drive.reconcile)
    seen: list[str] = []

    def hook(name: str) -> None:
        if name == "dual:barred":
            with move.open() as late:
                drive.write_again(late.pair.source, [(7,)])
        if name == "dual:done" and "dual:barred" in seen and name not in seen:
            with move.open() as late:
                late.pair.target.speaker.do("UPDATE t SET u = 'changed behind it' WHERE id = 7")
        seen.append(name)

    points.install(hook)
    try:
        with pytest.raises(LockgateError) as caught:
            move.call(turning.turn, forward=True)
    finally:
        points.install(None)
    assert caught.value.code == "MOVE_DIVERGED"
    with pytest.raises(LockgateError) as caught:
        move.call(turning.turn, forward=True)
    assert caught.value.code == "MOVE_PAUSED"
    assert move.call(drive.reconcile, repair=True).repaired == 1
    assert move.call(turning.turn, forward=True).serves == "target"
    assert move.state("source") == move.state("target")


@pytest.mark.parametrize("other", ["postgres", "mysql", "sqlite"])
def test_rows_that_point_at_nothing(hand, database: str, other: str):
    """A declared reference: the batch tells which rows dangle, proof, switch and end are refused until what they point at is there."""
    words = (Reference(("u",), "word", ("w",)), Reference(("id",), "t", ("id",)))
    move: Hand = hand("sqlite", other, writers=0, references=words)
    with move.open() as opened_:
        target = opened_.pair.target.speaker
        assert "references" in move.call(drive.plan).problems[0]["what"]
        target.do("CREATE TABLE word (w varchar(40) PRIMARY KEY)")
        for n in range(1, len(ROWS) + 1):
            if n not in (7, 71):
                target.do(f"INSERT INTO word VALUES ('u{n}')")
        assert not move.call(drive.plan).problems
        move.call(drive.start, operator="t")
        move.call(backfill)
        events = run_sql(database, "SELECT evidence FROM lockgate.move_event WHERE kind = 'dangling'")
        told = {k[0].removeprefix("i:") for (e,) in events for d in e["dangling"] for k in d["keys"]}
        assert told == {"7", "71"}
        assert _dangles(move, drive.reconcile) == 2
        target.do("INSERT INTO word VALUES ('u7')")
        target.do("INSERT INTO word VALUES ('u71')")
        move.call(drive.reconcile)
        target.do("DELETE FROM word WHERE w = 'u8'")
        assert _dangles(move, turning.turn, forward=True) == 1
        with move.writer() as writer:
            writer.delete({"id": 8})
            move.call(turning.turn, forward=True)
            writer.put(row(500, "nowhere"))
        assert _dangles(move, drive.finish, now=True) == 1
        target.do("INSERT INTO word VALUES ('nowhere')")
        move.call(drive.finish, now=True)


def _dangles(move: Hand, call: Callable[..., object], **more: object) -> int:
    with pytest.raises(LockgateError) as caught:
        move.call(call, **more)
    assert caught.value.code == "MOVE_DANGLING"
    return caught.value.details["dangling"][0]["rows"]


def test_declarations_that_are_wrong(tmp_path: Path):
    """What a file says wrongly is named; a file of another kind is not taken for one of these."""
    place = Place("t", "ONE")
    good = DualDeclaration("dual-write", place, place)
    assert problems(good) == []
    for wrong in (
        DualDeclaration("other", place, place),
        DualDeclaration("dual-write", Place("t", "ONE", True), place),
        DualDeclaration("dual-write", place, place, columns={"a": "b"}),
        DualDeclaration("dual-write", place, place, writers=-1),
        DualDeclaration("dual-write", place, place, references=(Reference(("a",), "p"),)),
        DualDeclaration("dual-write", place, place, rollback_hours=0),
    ):
        assert len(problems(wrong)) == 1
    file = tmp_path / "x.toml"
    file.write_text('[source]\ntable = "t"\n')
    assert not is_dual(file)
    assert not is_dual(tmp_path / "nope.toml")


def test_created_tables(places):
    """The table that is made names character set and collation, and keeps NOT NULL and the key."""
    source = places("postgres")
    store = open_store(source.url, "test", "t")
    described = store.describe("t")
    store.close()
    target = places("mysql")
    speaker = speak(target.url, "test", "t")
    text = create_sql(would_be(described, "t2", "mysql"), speaker)
    assert "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin" in text
    assert "`id` bigint NOT NULL" in text
    assert "PRIMARY KEY (`id`)" in text
    speaker.do(text)
    speaker.close()
