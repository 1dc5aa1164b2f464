"""Defects that are put into real stores behind lockgate's back: validation names each by its cause, or the store refuses it."""

import math
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from indexes import lab
from lockgate.errors import Refused
from lockgate.indexes.build import Wanted, build
from lockgate.indexes.drift import Drift
from lockgate.indexes.gold import GoldSet
from lockgate.indexes.limits import choose
from lockgate.indexes.register import find_generation
from lockgate.indexes.validate import side_of, validate
from lockgate.postgres.link import Link
from lockgate.postgres.moves import home
from lockgate.postgres.target import Target
from lockgate.record.verdict import Verdict
from lockgate.stores.content import Record
from lockgate.stores.manifest import Embedding, Manifest
from lockgate.stores.open_search import open_search
from lockgate.stores.searching import SearchStore
from lockgate.stores.vectors import single

pytestmark = pytest.mark.postgres("18")
DIMENSION = 48
MADE = lab.topical(31, 150, 30, dim=DIMENSION)
RECORDS = [
    Record(i, MADE.docs[i], "{}", single(v.tolist())) for i, v in zip(MADE.ids, MADE.vectors, strict=True)
]
ASKED = dict(zip(MADE.queries, [single(v.tolist()) for v in MADE.asked], strict=True))
VECTORS = ("pgvector", "pointer", "qdrant")


class Lab:
    """Two equal generations of the index ``d`` in one real store, of which ``hurt`` harms the second."""

    def __init__(self, kind: str, place: str, link: Link, gold: GoldSet) -> None:
        self.link, self.gold, self.kind = link, gold, kind
        self.store: SearchStore = open_search(kind, place, link)
        ann = {"type": "hnsw", "m": "16", "ef_construction": "64"} if kind == "pgvector" else {"type": "flat"}
        if kind == "fts5":
            spec = Manifest("text", analyzer="porter unicode61")
        else:
            spec = Manifest("vector", Embedding("given", "m", DIMENSION), "cosine", ann=ann)
        for generation in ("good", "bad"):
            wanted = Wanted("d", generation, kind, place, spec, "", len(RECORDS))
            build(link, self.store, wanted, lambda after: (r for r in sorted(RECORDS) if r.id > after), None, actor="t")  # fmt: skip

    def judge(self) -> Drift:
        rows = [find_generation(self.link, "d", g) for g in ("bad", "good")]
        sides = [side_of(row, self.store, self.gold, "", ASKED) for row in rows]
        return validate(self.gold, sides[0], sides[1], choose("like-for-like", {}, None))

    def names(self, cause: str) -> None:
        """The verdict is fail, and ``cause`` is seen and not guessed."""
        drift = self.judge()
        assert drift.verdict is Verdict.FAIL
        assert (cause, True) in [(c.cause, c.sure) for c in drift.causes]


@pytest.fixture
def laboratory(tmp_path: Path, database: str) -> Iterator[Callable[[str], Lab]]:
    """A function that makes both generations in a kind of store."""
    home.ensure(Target(database, source="test"))
    link = Link(Target(database, source="test"), "defects")
    made: list[Lab] = []

    def make(kind: str) -> Lab:
        place = "" if kind == "pgvector" else str(tmp_path / f"{kind}.d")
        made.append(Lab(kind, place, link, MADE.write(tmp_path / "gold")))
        return made[-1]

    yield make
    for one in made:
        one.store.close()
    link.close()


def changed(share: float, vector: Callable[[Record], tuple[float, ...]]) -> list[Record]:
    """The first records with other vectors."""
    return [r._replace(vector=vector(r)) for r in RECORDS[: int(len(RECORDS) * share)]]


def finished(one: Lab) -> None:
    """The search structure is built over what was changed, so that nothing but the defect is left to see."""
    manifest = one.store.manifest("d__bad")
    assert manifest is not None
    one.store.finalise("d__bad", manifest)


@pytest.mark.parametrize("kind", [*VECTORS, "fts5"])
def test_two_equal_generations_pass(laboratory, kind: str):
    """Nothing was harmed, so nothing is found: what the other tests find is their defect."""
    drift = laboratory(kind).judge()
    assert drift.verdict is Verdict.PASS, [c for c in drift.checks if c.answer is not Verdict.PASS]


@pytest.mark.parametrize("kind", VECTORS)
def test_zero_vectors(laboratory, kind: str):
    """Vectors of length 0, written past the build, are counted in the store itself."""
    one: Lab = laboratory(kind)
    one.store.upsert("d__bad", changed(0.05, lambda _: (0.0,) * DIMENSION))
    finished(one)
    one.names("zero-vectors")


@pytest.mark.parametrize("kind", VECTORS)
def test_a_vector_with_a_component_that_is_no_number(laboratory, kind: str):
    """pgvector and Qdrant refuse a NaN as a record that cannot be; where a store takes it, validation counts it."""
    one: Lab = laboratory(kind)
    wrong = changed(0.05, lambda r: (math.nan, *(r.vector or ())[1:]))
    if kind != "pointer":
        with pytest.raises(Refused) as caught:
            one.store.upsert("d__bad", wrong)
        assert caught.value.code == "INDEX_RECORD"
        assert one.judge().verdict is Verdict.PASS
        return
    one.store.upsert("d__bad", wrong)
    finished(one)
    one.names("zero-vectors")


@pytest.mark.parametrize("kind", VECTORS)
def test_another_dimension(laboratory, kind: str):
    """Every store refuses a vector of another dimension, and what it held stays."""
    one: Lab = laboratory(kind)
    for size in (DIMENSION - 1, DIMENSION + 1):
        with pytest.raises(Refused) as caught:
            one.store.upsert("d__bad", [RECORDS[0]._replace(vector=(0.5,) * size)])
        assert caught.value.code == "INDEX_RECORD"
    assert one.judge().verdict is Verdict.PASS


@pytest.mark.parametrize("kind", [*VECTORS, "fts5"])
@pytest.mark.parametrize(
    ("share", "tail", "cause"),
    [
        (0.01, False, "documents-missing"),
        (0.1, False, "documents-missing"),
        (0.25, False, "documents-missing"),
        (0.05, True, "stale-tail"),
    ],
)
def test_missing_documents(laboratory, kind: str, share: float, tail: bool, cause: str):
    """Documents deleted from the store, one in a hundred among them, and the newest of them, which is a tail that was never carried."""
    one: Lab = laboratory(kind)
    _, kept = lab.without(MADE, share, 3, tail=tail)
    one.store.delete("d__bad", sorted(set(MADE.ids) - set(kept)))
    finished(one)
    one.names(cause)


@pytest.mark.parametrize("kind", VECTORS)
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_vectors_of_another_model(laboratory, kind: str, share: float):
    """Vectors of another model of the same dimension under the old ids."""
    one: Lab = laboratory(kind)
    other = lab.foreign(MADE, share, 3)
    alien = [
        r._replace(vector=single(v.tolist()))
        for r, v, old in zip(RECORDS, other, MADE.vectors, strict=True)
        if not np.array_equal(v, old)
    ]
    one.store.upsert("d__bad", alien)
    finished(one)
    one.names("foreign-vectors")


@pytest.mark.parametrize("kind", VECTORS)
def test_ids_that_were_exchanged(laboratory, kind: str):
    """A tenth of the vectors stand under the ids of others."""
    one: Lab = laboratory(kind)
    ids = lab.shuffled(MADE, 0.1, 3)
    by_id = {r.id: r for r in RECORDS}
    moved = [by_id[new]._replace(vector=r.vector) for r, new in zip(RECORDS, ids, strict=True) if r.id != new]
    one.store.upsert("d__bad", moved)
    finished(one)
    one.names("ids-shuffled")


def test_a_graph_for_another_metric(laboratory, link: Link):
    """pgvector with a graph whose operator class is of another metric than the queries ask for: answered, slowly, without an error."""
    one: Lab = laboratory("pgvector")
    (name,) = one.link.rows(
        "SELECT indexname FROM pg_indexes WHERE schemaname = 'lockgate_index' AND tablename = 'd__bad' AND indexdef LIKE '%hnsw%'"
    )[0]
    one.link.run(f'DROP INDEX lockgate_index."{name}"')
    one.link.run(
        "CREATE INDEX ON lockgate_index.d__bad USING hnsw (embedding vector_l2_ops) WITH (m = 16, ef_construction = 64)"
    )
    one.names("wrong-metric")


def test_a_tail_that_no_word_index_holds(laboratory, tmp_path: Path):
    """Documents that stand in the table of FTS5 and not in its words are a stale tail, though count and content are right."""
    one: Lab = laboratory("fts5")
    with sqlite3.connect(tmp_path / "fts5.d") as db:
        rows = db.execute("SELECT number, text FROM d__bad ORDER BY number DESC LIMIT 8").fetchall()
        db.executemany("INSERT INTO d__bad_words (d__bad_words, rowid, text) VALUES ('delete', ?, ?)", rows)
    db.close()
    one.names("stale-tail")
