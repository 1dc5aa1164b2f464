"""Moves whose target is an index: rows of a table go into a new generation while they are written to, and the alias turns to it."""

import importlib.util
import json
import random
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from indexes.conftest import DOUBLES, NEEDS, STRICT, WORDS, place_of
from indexes.lives import GOLD
from lockgate.errors import LockgateError
from lockgate.indexes.moving import drive, turning
from lockgate.indexes.moving.opened import Inline, OpenedIndex, opened_index
from lockgate.indexes.register import find_generation, read_alias
from lockgate.moves.dual import DualWriter
from lockgate.moves.dual import drive as shared
from lockgate.moves.dual.copy import backfill, retry
from lockgate.moves.dual.into import is_index, parse_index
from lockgate.moves.dual.pair import Urls
from lockgate.moves.dual.second_leg import write_images
from lockgate.postgres.moves import home
from lockgate.postgres.target import Target
from lockgate.record import points
from lockgate.stores.content import Record, index_hash
from lockgate.stores.open_search import NOT_A_SERVER
from lockgate.stores.side import Op
from support.calls import Project
from support.processes import until
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")
DIMENSION = 8
STORES = {
    "pgvector": 'store = "pgvector"\nmodel = "m"\nann = "hnsw:m=8,ef_construction=32"\n',
    "pgvector-embedder": 'store = "pgvector"\nembedder = "hashing:64"\n',
    "fts": 'store = "fts"\n',
    "fts5": 'store = "fts5"\nplace = "words.db"\n',
    "qdrant": 'store = "qdrant"\nplace = "collections"\nembedder = "hashing:64"\n',
    "opensearch": 'store = "opensearch"\nembedder = "hashing:64"\nann = "hnsw"\n',
    "elasticsearch": 'store = "elasticsearch"\nanalyzer = "english"\n',
    "lancedb": 'store = "lancedb"\nplace = "lance"\nembedder = "hashing:64"\nann = "hnsw"\n',
    "chroma": 'store = "chroma"\nembedder = "hashing:64"\nann = "hnsw"\ntwo_step = true\n',
    "milvus": 'store = "milvus"\nplace = "index.db"\nembedder = "hashing:64"\nann = "hnsw"\n',
}
"""What is declared of each store that a move feeds; one behind a URL is given its place by the test."""
LARGE = {"lancedb", "chroma", "milvus"}


def kinds(*names: str) -> list[Any]:
    """Kinds as parameters, of which those with large clients are left to `make heavy`."""
    return [pytest.param(k, marks=pytest.mark.heavy) if k in LARGE else k for k in names]


def placed(kind: str, request: pytest.FixtureRequest) -> dict[str, str]:
    """What the declaration says more of a kind: the URL of its server. Skips where its client is not installed."""
    needs = NEEDS.get(kind)
    if needs and importlib.util.find_spec(needs) is None:
        assert not (STRICT and kind in LARGE), f"{needs} has to be installed here"
        pytest.skip(f"{needs} is not installed")
    served = kind == "chroma" or kind in DOUBLES
    return {"index": f'place = "{place_of(kind, Path(), request)}"'} if served else {}


def vector(rng: random.Random) -> list[float]:
    """A vector of length 1."""
    raw = [rng.gauss(0, 1) for _ in range(DIMENSION)]
    length = sum(x * x for x in raw) ** 0.5
    return [x / length for x in raw]


class Hand:
    """One move from the table ``articles`` of a file of SQLite or of PostgreSQL into the index ``help``."""

    def __init__(self, root: Path, ledger: str, source: str, kind: str, **more: Any) -> None:
        (root / "moves").mkdir(exist_ok=True)
        self.file, self.root, self.source, self.ledger = root / "moves" / "into.toml", root, source, ledger
        stored = kind == "pgvector"
        lines = ['kind = "index"', 'key = ["id"]', *(f"{k} = {v}" for k, v in more.get("top", {}).items())]
        lines += [
            "[source]",
            'table = "articles"',
            'url_env = "APP"',
            "[columns]",
            'text = "body"',
            'payload = "\'{\\"b\\": 1, \\"a\\": 2}\'"',
        ]
        lines += ['vector = "embedding"'] if stored else []
        lines += ["[index]", 'name = "help"', STORES[kind], more.get("index", "")]
        lines += [
            "[limits]",
            "batch_rows = 20",
            "relay_rows = 50",
            "workers = 2",
            "lock_attempt_ms = 50",
            "lock_patience_seconds = 20",
            *more.get(
                "limits", ("max_connections_percent = 100", "max_lock_waiters = 1000", "max_commit_ms = 0")
            ),
        ]
        self.file.write_text("\n".join(lines) + "\n")
        self.home = Target(ledger, source="test")
        home.ensure(self.home)

    @contextmanager
    def open(self) -> Iterator[OpenedIndex]:
        with opened_index(parse_index(self.file, "into"), self.home, Urls(self.source, ""), "test") as move:
            yield move

    def call(self, work: Callable[..., Any], **more: Any) -> Any:
        with self.open() as move:
            return work(move, **more)

    def copy(self) -> Any:
        with self.open() as move:
            return backfill(move, executor=Inline() if move.alone else None)

    def writer(self, instance: str = "w") -> DualWriter:
        return DualWriter.from_file(self.file, {"APP": self.source}, instance=instance)

    def through(self) -> None:
        """start, copy, prove, with a writer that is seen."""
        self.call(drive.start, operator="t")
        with self.writer() as writer:
            writer.beat()
            self.copy()
        self.call(drive.reconcile)

    def held(self, generation: str) -> dict[str, str]:
        """The texts of a generation."""
        with self.open() as move:
            row = find_generation(move.home, "help", generation)
            return {r.id: r.text for r, _ in move.pair.stores.of(row).scan(row.physical)}

    def texts(self) -> dict[str, str]:
        """The texts of the table."""
        if self.source.startswith("sqlite"):
            with sqlite3.connect(self.source.removeprefix("sqlite:///")) as db:
                found = {str(i): b for i, b in db.execute("SELECT id, body FROM articles")}
            db.close()
            return found
        return {str(i): b for i, b in run_sql(self.source, "SELECT id, body FROM articles")}


def article(rng: random.Random, number: int) -> dict[str, object]:
    """A row as an application writes it."""
    return {
        "id": number,
        "body": " ".join(rng.choice(WORDS) for _ in range(6)) + f" unique{number}",
        "embedding": json.dumps(vector(rng)),
    }


@pytest.fixture
def hand(tmp_path: Path, database: str, databases: Callable[[], str]) -> Callable[..., Hand]:
    """A function that makes a move into a kind of store, from a table with 90 rows."""

    def make(kind: str, source: str = "sqlite", **more: Any) -> Hand:
        rows = [tuple(article(random.Random(n), n).values()) for n in range(1, 91)]
        if source == "sqlite":
            file = tmp_path / "app.db"
            with sqlite3.connect(file) as db:
                db.execute("CREATE TABLE articles (id INTEGER PRIMARY KEY, body TEXT, embedding TEXT)")
                db.executemany("INSERT INTO articles VALUES (?, ?, ?)", rows)
            db.close()
            return Hand(tmp_path, database, f"sqlite:///{file}", kind, **more)
        url = databases()
        with psycopg.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE articles (id bigint PRIMARY KEY, body text, embedding text)")
            cursor.executemany("INSERT INTO articles VALUES (%s, %s, %s)", rows)
        return Hand(tmp_path, database, url, kind, **more)

    return make


@pytest.mark.parametrize("kind", kinds(*STORES))
def test_the_whole_way_under_writes(hand, kind: str, request: pytest.FixtureRequest):
    """start, backfill, verify, cutover, rollback, cutover again, finish into every store that is fed, while two threads write and delete: at the end both generations hold what the table holds."""
    move: Hand = hand(kind, "postgres", **placed(kind, request))
    move.through()
    assert move.call(turning.turn, forward=True).serves == "target"
    move.call(turning.finish, now=True)
    assert read_generation(move) == "0001"
    # The second one is filled while the first serves, and both are kept current.
    move.call(drive.start, operator="t")
    stop, errors, written = threading.Event(), [], [0]

    def write(seed: int) -> None:
        rng = random.Random(seed)
        try:
            with move.writer(f"w{seed}") as writer:
                writer.beat()
                while not stop.wait(0.05):  # as fast as people, not as fast as a loop
                    number = rng.randrange(1, 70) * 2 + seed
                    if rng.random() < 0.3:
                        writer.delete({"id": number})
                    else:
                        writer.put(article(rng, number))
                    written[0] += 1
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: written[0] > 10 or errors, 60)
        assert move.copy().rows > 0
        move.call(drive.reconcile)
        move.call(swap_unvalidated)
        now = written[0]
        until(lambda: written[0] > now + 5 or errors, 60)
        assert move.call(turning.turn, forward=False).serves == "source"
        assert read_generation(move) == "0001"
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not errors
    move.call(shared.relay)
    assert move.held("0002") == move.texts()
    assert move.held("0001") == move.texts()
    with move.open() as opened_:
        assert opened_.pair.source.backlog() == (0, 0)


def swap_unvalidated(move: OpenedIndex) -> None:
    """A person swaps without a validation, and the move takes it from there."""
    from lockgate.indexes.swap import swap

    side = move.pair.target
    swap(
        side.link,
        side.fed.store,
        move.pair.stores.of,
        "help",
        "0002",
        actor="t",
        window_seconds=3600,
        unvalidated=True,
        two_step=True,
    )
    assert turning.turn(move, forward=True).serves == "target"


def read_generation(move: Hand) -> str:
    """Where the alias points, by our record and by the store."""
    with move.open() as opened_:
        alias = read_alias(opened_.home, "help")
        assert alias is not None
        row = find_generation(opened_.home, "help", alias.generation)
        assert opened_.pair.stores.of(row).resolve("help") == row.physical
        return alias.generation


def test_each_operation_carries_its_numbers(hand):
    """Every operation records its revision on both sides and the hash of the generation it went into; no key holds that hash, and a tombstone keeps an older image out."""
    move: Hand = hand("fts5")
    move.through()
    with move.writer() as writer:
        writer.put({"id": 500, "body": "one"}, op_id="a")
        assert not writer.put({"id": 500, "body": "two"}, op_id="a")
        writer.delete({"id": 500}, op_id="b")
    move.call(shared.relay)
    with move.open() as opened_:
        source, target = opened_.pair.source, opened_.pair.target
        row = find_generation(opened_.home, "help", "0001")
        ops = source.speaker.ask(
            f"SELECT op_id, source_rev, target_rev, index_hash, state FROM {source._side('op')} ORDER BY op_id"
        )
        # Two operations of one key went in one batch, so the index saw one of them.
        assert ops == [("a", 1, 1, row.index_hash, 1), ("b", 2, 1, row.index_hash, 1)]
        revs = target.speaker.ask(f"SELECT k, rev, gone, index_hash FROM {target._side('rev')} WHERE rev > 0")
        assert [r[1:] for r in revs] == [(2, 1, row.index_hash)]
        assert row.index_hash not in revs[0][0]
        late = Op("late", ("i:500",), ("an older image", None), 1)
        shared_names = [g.name for g in source.given]
        assert write_images(target, [late], shared_names) == {revs[0][0]: 1}
        assert target.there(["500"]) == {}
        copied = opened_.home.rows(
            "SELECT DISTINCT equal, rows_source = rows_target FROM lockgate.move_range WHERE move = 'into'"
        )
        assert copied == [(True, True)]
    assert move.held("0001") == move.texts()


@pytest.mark.parametrize("kind", kinds("fts5", "opensearch", *sorted(LARGE)))
def test_what_the_proof_finds(hand, kind: str, request: pytest.FixtureRequest):
    """A record that was changed, lost or added behind the move's back is found by its bucket and named; nothing is sealed or swapped, and --repair mends it."""
    move: Hand = hand(kind, **placed(kind, request))
    move.call(drive.start, operator="t")
    with move.writer() as writer:
        writer.beat()
        move.copy()
    with move.open() as opened_:
        fed = opened_.pair.target.fed
        other = None if kind == "fts5" else (1.0, *[0.0] * 63)
        fed.store.upsert(
            fed.row.physical,
            [
                Record("7", "somebody else's text", '{"a":2,"b":1}', other),
                Record("1000", "a stranger", "{}", other),
            ],
        )
        fed.store.delete(fed.row.physical, ["9"])
        with pytest.raises(LockgateError) as caught:
            drive.reconcile(opened_)
        assert caught.value.code == "MOVE_DIVERGED"
        assert sorted(caught.value.details["unexplained"]) == ["1000", "7", "9"]
        assert find_generation(opened_.home, "help", "0001").state == "building"
        assert opened_.row().stage == "paused"
        shared.resume(opened_)
        done = drive.reconcile(opened_, repair=True)
        assert (done.repaired, done.source.records) == (3, 90)
        sealed = find_generation(opened_.home, "help", "0001")
        assert sealed.content_root == done.source.root == fed.store.content(fed.row.physical).root
        assert sealed.index_hash == index_hash(sealed.spec_hash, done.source.root, 90)
    assert move.held("0001") == move.texts()


def test_the_proof_finds_rounded_vectors_that_were_overwritten(hand):
    """Vectors of a float16 generation that somebody overwrote beside their hashes: the proof names their records, and --repair writes them again."""
    move: Hand = hand("pgvector", index='dtype = "float16"')
    move.call(drive.start, operator="t")
    with move.writer() as writer:
        writer.beat()
        move.copy()
    sql = "UPDATE lockgate_index.help__0001 SET embedding = (SELECT embedding FROM lockgate_index.help__0001 WHERE id = '1') WHERE id IN ('1', '7', '9')"
    with psycopg.connect(move.ledger, autocommit=True) as connection:
        connection.execute(sql)
    with move.open() as opened_:
        with pytest.raises(LockgateError) as caught:
            drive.reconcile(opened_)
        assert sorted(caught.value.details["unexplained"]) == ["7", "9"]
        shared.resume(opened_)
        assert drive.reconcile(opened_, repair=True).repaired == 2


def test_a_diverged_move_is_not_cut_over(hand, database: str):
    """A row that was written past DualWriter: cutover and run are refused while the move is paused, resume asks for the proof anew, and after --repair the generation that serves holds that row."""
    move: Hand = hand("fts5")
    move.through()
    project = Project(move.root, database)
    project.environ |= {"APP": move.source}
    with sqlite3.connect(move.source.removeprefix("sqlite:///")) as db:
        db.execute("UPDATE articles SET body = 'written past it' WHERE id = 7")
    db.close()
    assert project.json("move", "verify", "into").error("MOVE_DIVERGED")["exitCode"] == 1
    for words in (("cutover", "into"), ("run", "into"), ("run", "into", "--cutover")):
        assert project.json("move", *words).error("MOVE_PAUSED")["exitCode"] == 5
    with move.open() as opened_:
        assert read_alias(opened_.home, "help") is None
    assert project.ok("move", "move", "resume", "into")["stage"] == "backfilling"
    assert project.json("move", "cutover", "into").error("MOVE_STAGE")["exitCode"] == 4
    assert project.json("move", "run", "into").error("MOVE_DIVERGED")["exitCode"] == 1
    assert project.ok("move", "move", "verify", "into", "--repair")["result"]["repaired"] == 1
    assert project.ok("move", "move", "cutover", "into")["serves"] == "target"
    assert move.held("0001")["7"] == "written past it"
    assert "are equal" not in project.text("move", "run", "into").out
    run_sql(
        database,
        "INSERT INTO lockgate.move_event (move, kind, from_stage, to_stage, reason, operator, evidence) VALUES ('into', 'divergence', '', '', '1 record differs', 'test', '{}')",
    )
    assert "finish into --now" in project.json("move", "finish", "into").error("MOVE_DIVERGED")["next"]
    assert project.ok("move", "move", "finish", "into", "--now")["stage"] == "finished", "no way back is left"


def test_rows_that_no_record_can_be_made_of_wait_in_quarantine(hand):
    """A vector of another dimension and a NaN stand in quarantine with the reason and block the proof; all other rows are copied, and once mended they follow."""
    move: Hand = hand("pgvector")
    with sqlite3.connect(move.source.removeprefix("sqlite:///")) as db:
        db.execute("UPDATE articles SET embedding = '[1, 2]' WHERE id = 5")
        db.execute("UPDATE articles SET embedding = '[NaN, 0, 0, 0, 0, 0, 0, 1]' WHERE id = 6")
    db.close()
    move.call(drive.start, operator="t")
    with move.writer() as writer:
        writer.beat()
        move.copy()
        with pytest.raises(LockgateError) as caught:
            move.call(drive.reconcile)
        assert caught.value.code == "MOVE_QUARANTINE"
        held = caught.value.details["quarantine"]
        assert [h["key"] for h in held] == [["i:5"], ["i:6"]]
        assert "2 components, not 8" in held[0]["message"]
        rng = random.Random(1)
        for number in (5, 6):
            writer.put(article(rng, number))
    move.call(retry)
    assert move.call(drive.reconcile).source.records == 90


@pytest.mark.parametrize(
    "place",
    [
        "dual:apply:commit",
        "dual:done",
        "dual:batch:destination-commit",
        "into:indexed",
        "into:sealed",
        "into:swapped",
        "index:swap:moved",
        "index:swap:recorded",
    ],
)
@pytest.mark.parametrize("kind", kinds("pgvector", "fts5", "opensearch", *sorted(LARGE)))
def test_cut_off_anywhere(hand, kind: str, place: str, request: pytest.FixtureRequest):
    """Cut off at each point of copying, carrying, proof and swap, the same calls go on: one alias, one seal, table and index equal."""
    move: Hand = hand(kind, **placed(kind, request))
    move.call(drive.start, operator="t")
    died = [False]

    def hook(name: str) -> None:
        if name == place and not died[0]:
            died[0] = True
            raise Died

    def whole() -> None:
        with move.open() as opened_:
            backfill(opened_, executor=Inline())
        move.call(shared.relay)
        move.call(drive.reconcile)
        move.call(turning.turn, forward=True)

    with move.writer() as writer:
        writer.beat()
        writer.put(article(random.Random(3), 300))
        points.install(hook)
        try:
            with pytest.raises(Died):
                whole()
        finally:
            points.install(None)
        assert died[0]
        stage = move.call(lambda m: m.row().stage)
        if stage in ("dual_write", "backfilling"):
            whole()
        else:
            move.call(shared.relay)
            move.call(turning.turn, forward=True)
    assert move.call(lambda m: m.row().stage) == "tail"
    assert read_generation(move) == "0001"
    assert move.held("0001") == move.texts()


class Died(BaseException):
    """The process ends here."""


def test_what_the_plan_refuses(hand):
    """Stores that are built offline, a generation that cannot be kept current, a table without a key, and a declaration that says two things are refused before anything is made."""
    move: Hand = hand("fts5")
    text = move.file.read_text()
    for old, new, words in (
        ('store = "fts5"', 'store = "pointer"', "built offline"),
        ('key = ["id"]', 'key = ["body"]', "unique"),
        ('url_env = "APP"', 'url_env = "APP"\ncreate = true', "there already"),
        ('text = "body"', 'words = "body"', "a record has"),
        ('name = "help"', 'name = "Help!"', "index.name"),
        ('name = "help"', 'name = "help"\nembedder = "hashing:8"\n[columns.x]', "moves/into.toml"),
    ):
        assert old in text
        move.file.write_text(text.replace(old, new))
        with pytest.raises(LockgateError) as caught:
            move.call(drive.start, operator="t")
        assert words in caught.value.message, caught.value.message
    move.file.write_text(text)
    assert is_index(move.file)
    assert not is_index(move.root / "moves" / "nope.toml")


def test_a_move_says_that_no_server_was_asked(hand, request: pytest.FixtureRequest, database: str):
    """Plan, start and abort of a move into a store whose adapter was not run against a server say so to people and to machines, and so does the way back that is written at the start."""
    move: Hand = hand("opensearch", **placed("opensearch", request))
    project = Project(move.root, database)
    project.environ |= {"APP": move.source}
    assert NOT_A_SERVER in project.text("move", "plan", "into").out
    started = project.ok("move", "move", "start", "into")["result"]
    assert (started["store"], started["unproven"]) == ("opensearch", NOT_A_SERVER)
    assert NOT_A_SERVER in Path(move.root, started["rollbackDocument"]).read_text("utf-8")
    assert NOT_A_SERVER in project.text("move", "abort", "into").out


def test_accepting_two_steps_changes_no_move_that_runs(hand):
    """``two_step`` decides about the swap only: a move that runs is the declared one before and after it was written down."""
    move: Hand = hand("fts5")
    before = parse_index(move.file, "into").hash
    move.file.write_text(move.file.read_text().replace('name = "help"', 'name = "help"\ntwo_step = true'))
    after = parse_index(move.file, "into")
    assert (after.hash, after.index.two_step) == (before, True)


@pytest.mark.heavy
def test_two_steps_have_to_be_accepted(hand, request: pytest.FixtureRequest):
    """A move into Chroma whose file does not accept that the alias moves in two steps is refused before anything is made."""
    move: Hand = hand("chroma", **placed("chroma", request))
    move.file.write_text(move.file.read_text().replace("two_step = true", ""))
    with pytest.raises(LockgateError) as caught:
        move.call(drive.start, operator="t")
    assert "one step" in caught.value.message
    assert "two_step = true" in caught.value.next


def test_a_generation_of_other_ids_is_not_fed(hand, tmp_path: Path, database: str):
    """Where the ids of what serves are no keys of the table, the plan refuses to feed it; declared one-way, the move goes through, and has no way back."""
    project = Project(tmp_path, database)
    project.ok(
        "index",
        "index",
        "build",
        "help",
        "--store",
        "fts5",
        "--place",
        "words.db",
        "--records",
        str(GOLD / "corpus.jsonl"),
    )
    project.ok("index", "index", "swap", "help", "--to", "0001")
    move: Hand = hand("fts5")
    with pytest.raises(LockgateError, match="has none of the first 90 keys"):
        move.call(drive.start, operator="t")
    one_way: Hand = hand_again(move, "one_way = true\n")
    one_way.through()
    before = one_way.held("0001")
    one_way.call(swap_unvalidated)
    with pytest.raises(LockgateError) as caught:
        one_way.call(turning.turn, forward=False)
    assert caught.value.code == "MOVE_STAGE"
    assert one_way.held("0001") == before


def hand_again(move: Hand, top: str) -> Hand:
    """The same move with more at the top of its declaration."""
    move.file.write_text(top + move.file.read_text())
    return move


def gold_table(project: Project, url: str) -> None:
    """The corpus of the shipped gold set as the table ``docs``."""
    rows = [json.loads(line) for line in (GOLD / "corpus.jsonl").read_text().splitlines()]
    with psycopg.connect(url) as db, db.cursor() as cursor:
        cursor.execute("CREATE TABLE docs (id text PRIMARY KEY, title text, body text)")
        cursor.executemany(
            "INSERT INTO docs VALUES (%s, %s, %s)", [(r["_id"], r.get("title"), r["text"]) for r in rows]
        )


DECLARED = """
kind = "index"
writers = 0
[source]
table = "docs"
url_env = "APP"
[columns]
text = "CASE WHEN title <> '' AND body <> '' THEN title || E'\\\\n' || body ELSE COALESCE(NULLIF(title, ''), body) END"
[index]
name = "help"
embedder = "hashing:384"
ann = "hnsw:m=16,ef_construction=64"
dtype = "{dtype}"
gold = "{gold}"
"""


def test_commands_and_the_gate(tmp_path: Path, database: str, databases: Callable[[], str]):
    """`lockgate move` from plan to rollback: the cutover asks the declared gold set, tells delta-S and lambda in the ledger, swaps, and goes back with what was written since."""
    url = databases()
    project = Project(tmp_path, database)
    project.environ |= {"APP": url}
    gold_table(project, url)
    (tmp_path / "moves").mkdir()
    file = tmp_path / "moves" / "docs.toml"
    file.write_text(DECLARED.format(dtype="float16", gold=GOLD))
    first = project.ok("move", "move", "plan", "docs")["result"]
    assert first["problems"] == [], "nothing of lockgate is in the database yet"
    project.ok(
        "index",
        "index",
        "build",
        "help",
        "--records",
        str(GOLD / "corpus.jsonl"),
        "--embedder",
        "hashing:384",
    )
    project.ok("index", "index", "swap", "help", "--to", "0001")
    planned = project.ok("move", "move", "plan", "docs")
    assert planned["result"]["problems"] == []
    assert any("gold set" in step for step in planned["result"]["steps"])
    assert project.ok("move", "move", "start", "docs")["result"]["generation"] == "0002"
    ran = project.ok("move", "move", "run", "docs")
    assert ran["stage"] == "reconciled"
    verified = project.ok("move", "move", "verify", "docs")["result"]
    assert verified["contentRoot"]["source"] == verified["contentRoot"]["target"]
    with DualWriter.from_file(file, project.environ) as writer:
        writer.put({"id": "late", "title": "", "body": "a late document about water"})
        assert project.json("index", "rollback", "help").code != 0
        turned = project.ok("move", "move", "cutover", "docs")
        assert (turned["serves"], turned["result"]["drained"], turned["stage"]) == ("target", 1, "tail")
        event = run_sql(
            database, "SELECT evidence FROM lockgate.move_event WHERE move = 'docs' AND to_stage = 'cut_over'"
        )[0][0]
        assert event["deltaSDiff"] <= 0.02
        assert {state for state, queries in event["lambda"].items() if queries} == {"convergent"}
        assert event["from"] == "0001"
        listed = {g["generation"]: g for g in project.ok("index", "index", "list", "help")["generations"]}
        assert (listed["0002"]["verdict"], listed["0002"]["records"]) == ("pass", 91)
        writer.put({"id": "later", "title": "", "body": "written on the new generation"})
        assert project.json("move", "finish", "docs").error("MOVE_WINDOW")["exitCode"] == 4
        refused = project.json("index", "rollback", "help")
        assert "lockgate move rollback docs" in refused.error("INDEX_NOT_READY")["next"]
        assert project.ok("move", "move", "rollback", "docs")["serves"] == "source"
    assert run_sql(
        database,
        "SELECT count(*) FROM lockgate_index.help WHERE generation = 'help__0001' AND id IN ('late', 'later')",
    ) == [(2,)]
    kept = project.ok("index", "index", "gc", "help", "--abandoned")
    assert kept["dropped"] == []
    assert project.ok("move", "move", "abort", "docs")["stage"] == "aborted"


def test_a_worse_index_does_not_begin_to_serve(tmp_path: Path, database: str, databases: Callable[[], str]):
    """Where the declared gold set says that retrieval is worse, the cutover ends before the swap; what served goes on, and the move can be aborted."""
    url = databases()
    project = Project(tmp_path, database)
    project.environ |= {"APP": url}
    gold_table(project, url)
    project.ok(
        "index",
        "index",
        "build",
        "help",
        "--records",
        str(GOLD / "corpus.jsonl"),
        "--embedder",
        "hashing:384",
    )
    project.ok("index", "index", "swap", "help", "--to", "0001")
    run_sql(url, "DELETE FROM docs WHERE id IN (SELECT id FROM docs ORDER BY id LIMIT 30)")
    (tmp_path / "moves").mkdir()
    (tmp_path / "moves" / "docs.toml").write_text(DECLARED.format(dtype="float32", gold=GOLD))
    project.ok("move", "move", "run", "docs")
    refused = project.json("move", "cutover", "docs")
    assert "documents-missing" in refused.error("INDEX_DRIFT")["message"]
    assert run_sql(database, "SELECT DISTINCT generation FROM lockgate_index.help") == [("help__0001",)]
    gate = run_sql(database, "SELECT evidence FROM lockgate.move_event WHERE move = 'docs' AND kind = 'gate'")
    assert gate[0][0]["verdict"] == "fail"
    assert project.ok("move", "move", "abort", "docs")["stage"] == "aborted"
