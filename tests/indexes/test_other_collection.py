"""The drift gate as somebody uses it who brings a collection of their own: built with a defect, sealed with it, and validated against the one that serves.

Texts in six scripts, one of them without spaces, ids that are UUIDs, numbers and paths, a model of 72 components over
letters; nothing of it was there when limits and causes were chosen. Each defect is looked for twice: by ``index validate``,
which sees the records, and by ``drift``, which sees answers only.
"""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from indexes import lab
from lockgate.indexes.build import Wanted, build
from lockgate.indexes.drift import Drift, compare
from lockgate.indexes.gold import GoldSet
from lockgate.indexes.limits import LIKE_FOR_LIKE, choose
from lockgate.indexes.register import find_generation
from lockgate.indexes.runs import Run, make_run
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

DOCUMENTS, QUERIES, DIMENSION = 260, 44, 72
ALPHABETS = {
    "en": "etaoinshrdlucmfw", "de": "enisratdhulcgmäöüß", "el": "αοιετσνηυρπκμλ", "ru": "оеаинтсрвлкмдпу", "ja": "のにはをたがでてとしれさ山水門川",
    "ar": "اليمونترسدبكعف",
}  # fmt: skip


def collection(seed: int) -> lab.Collection:
    """Documents about fourteen subjects, each in one language; a query is some words of one document, in its language."""
    rng = np.random.default_rng(seed)
    words: list[str] = []
    spoken: list[str] = []
    for language, letters in ALPHABETS.items():
        made: set[str] = set()
        while len(made) < 260:
            made.add("".join(rng.choice(list(letters), rng.integers(2, 5 if language == "ja" else 9))))
        words += sorted(made)
        spoken += [language] * 260
    of = {language: np.flatnonzero(np.array(spoken) == language) for language in ALPHABETS}
    subjects = {(s, la): rng.dirichlet(np.full(260, 0.05)) for s in range(14) for la in ALPHABETS}
    drawn: list[np.ndarray] = []
    docs: dict[str, str] = {}
    for n in range(DOCUMENTS):
        language = str(rng.choice(list(ALPHABETS), p=[0.35, 0.2, 0.1, 0.15, 0.12, 0.08]))
        chosen = rng.choice(of[language], rng.integers(12, 90), p=subjects[int(rng.integers(14)), language])
        drawn.append(chosen)
        id_ = (str(uuid.UUID(int=int(rng.integers(2**62)))), str(1000 + n), f"path/to/{n}.md#ä")[n % 3]
        docs[id_] = ("" if language == "ja" else " ").join(words[w] for w in chosen)
    counts = np.stack([np.bincount(many, minlength=len(words)) for many in drawn])
    weight = np.log((DOCUMENTS + 1) / ((counts > 0).sum(0) + 0.5))
    # A word is the sum of its pairs of letters, so that words which look alike are near, as with a model over letters.
    letters = {c: rng.normal(size=DIMENSION) for c in sorted({c for w in words for c in w})}
    turned = {c: np.roll(v, 7) for c, v in letters.items()}
    model = np.stack([sum(letters[a] * 0.6 + turned[b] for a, b in zip(w, w[1:] + w[:1], strict=True)) + 2 * rng.normal(size=DIMENSION) for w in words])  # fmt: skip
    vectors = lab.unit(np.sqrt(counts) * weight @ model)
    asked, texts, qrels = np.zeros((QUERIES, DIMENSION)), {}, {}
    for n, source in enumerate(rng.choice(DOCUMENTS, QUERIES, replace=False)):
        few = rng.choice(drawn[source], min(7, len(drawn[source])), replace=False)
        asked[n] = lab.unit((np.bincount(few, minlength=len(words)) * weight @ model)[None])[0]
        texts[f"frage-{n}"] = " ".join(words[w] for w in few)
        near = [d for d in np.argsort(-(vectors @ vectors[source]))[:4] if vectors[d] @ vectors[source] > 0.5]
        ids = list(docs)
        qrels[f"frage-{n}"] = {ids[d]: (3 if d == source else 1) for d in near}
    return lab.Collection(docs, texts, qrels, vectors, asked)


MADE = collection(90210)
IDS = MADE.ids


def records(vectors: lab.Array, ids: list[str] | None = None, texts: dict[str, str] | None = None) -> list[Record]:  # fmt: skip
    """Records of some documents, in the order of their ids."""
    names, said = ids or IDS, texts or MADE.docs
    return sorted(Record(i, said[i], "{}", single(v.tolist())) for i, v in zip(names, vectors, strict=True))


class Served(NamedTuple):
    """The generation ``good`` serves; others are built beside it and judged."""

    link: Link
    store: SearchStore
    gold: GoldSet

    def build(self, name: str, rows: list[Record], spec: Manifest) -> None:
        wanted = Wanted("d", name, "pgvector", "", spec, "", len(rows))
        build(self.link, self.store, wanted, lambda after: (r for r in rows if r.id > after), None, actor="t")

    def judge(self, asked: lab.Array = MADE.asked, breadth: int = 0) -> Drift:
        """The verdict over the generation ``bad``, whose queries have the vectors ``asked``."""
        given = [dict(zip(MADE.queries, [single(v.tolist()) for v in q], strict=True)) for q in (asked, MADE.asked)]  # fmt: skip
        rows = [find_generation(self.link, "d", g) for g in ("bad", "good")]
        new, old = (side_of(r, self.store, self.gold, "", q) for r, q in zip(rows, given, strict=True))
        return validate(self.gold, new, old, choose("like-for-like", {}, None), breadth=breadth)


def spec(ann: str = "hnsw", *, metric: str = "cosine", dimension: int = DIMENSION, normalised: bool = True, **parameters: str) -> Manifest:  # fmt: skip
    """A specification; ``parameters`` are the graph's."""
    more = parameters or ({"m": "16", "ef_construction": "64"} if ann == "hnsw" else {})
    return Manifest("vector", Embedding("given", "letters-72", dimension, normalised=normalised), metric, ann={"type": ann, **more})  # fmt: skip


@pytest.fixture
def served(tmp_path: Path, database: str) -> Iterator[Served]:
    """The collection in pgvector, with a graph."""
    home.ensure(Target(database, source="test"))
    link = Link(Target(database, source="test"), "other")
    store = open_search("pgvector", "", link)
    found = Served(link, store, MADE.write(tmp_path / "gold"))
    found.build("good", records(MADE.vectors), spec())
    yield found
    link.close()


def _lost(share: float, *, tail: bool = False) -> Callable[[], tuple[list[Record], Run]]:
    def made() -> tuple[list[Record], Run]:
        vectors, ids = lab.without(MADE, share, 11, tail=tail)
        return records(vectors, ids), lab.exact(MADE, 10, vectors=vectors, ids=ids)

    return made


def _vectors(make: Callable[[], lab.Array], metric: str = "cosine") -> Callable[[], tuple[list[Record], Run]]:
    return lambda: (records(make()), lab.exact(MADE, 10, vectors=make(), metric=metric))


def _moved(share: float) -> Callable[[], tuple[list[Record], Run]]:
    def made() -> tuple[list[Record], Run]:
        ids = lab.shuffled(MADE, share, 12)
        return records(MADE.vectors, ids), lab.exact(MADE, 10, ids=ids)

    return made


def _zero() -> lab.Array:
    vectors = MADE.vectors.copy()
    vectors[np.random.default_rng(13).choice(DOCUMENTS, 20, replace=False)] = 0
    return vectors


DEFECTS = {
    "1 % missing": (_lost(0.01), "documents-missing"),
    "10 % missing": (_lost(0.1), "documents-missing"),
    "25 % missing": (_lost(0.25), "documents-missing"),
    "10 % of another model": (_vectors(lambda: lab.foreign(MADE, 0.1, 14)), "foreign-vectors"),
    "50 % of another model": (_vectors(lambda: lab.foreign(MADE, 0.5, 14)), "foreign-vectors"),
    "all of another model": (_vectors(lambda: lab.foreign(MADE, 1.0, 14)), "foreign-vectors"),
    "a tenth of the ids": (_moved(0.1), "ids-shuffled"),
    "all ids": (_moved(1.0), "ids-shuffled"),
    "zero vectors": (_vectors(_zero), "zero-vectors"),
    "unnormalised": (_vectors(lambda: lab.lengths(MADE, 15), "ip"), "unnormalised-vectors"),
    "half of the components zero": (_vectors(lambda: MADE.vectors * (np.arange(DIMENSION) < DIMENSION // 2)), "dimensions-truncated"),
}  # fmt: skip
UNTOLD = {"1 % missing"}
"""Three documents of 260: answers alone cannot tell whether a search missed them, so ``drift`` may hold without a name, or pass where no query asks for them."""


@pytest.mark.postgres("18")
@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_that_was_built_and_sealed(served: Served, defect: str):
    """A generation that was built with the defect, and whose own seal is right, fails against the one that serves, and the defect is named and no guess."""
    make, cause = DEFECTS[defect]
    rows, _ = make()
    raw = cause in ("unnormalised-vectors", "dimensions-truncated")
    served.build("bad", rows, spec(metric="ip" if raw else "cosine", normalised=not raw))
    drift = served.judge()
    assert drift.verdict is Verdict.FAIL, drift.checks
    assert (cause, True) in [(c.cause, c.sure) for c in drift.causes], drift.causes


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_in_the_answers_alone(tmp_path: Path, defect: str):
    """The same defects by their answers: none passes, each is among the causes; of three lost documents only those can be told that some query should find."""
    make, cause = DEFECTS[defect]
    gold = MADE.write(tmp_path / "gold")
    drift = compare(gold, [lab.exact(MADE, 10)], [make()[1]], LIKE_FOR_LIKE)
    if defect in UNTOLD and drift.verdict is Verdict.PASS:
        return
    assert drift.verdict is not Verdict.PASS
    assert cause in {c.cause for c in drift.causes}, drift.causes


GRAPHS = {
    "another metric": (spec(metric="l2"), MADE.vectors, "wrong-metric"),
    "another metric on raw lengths": (spec(metric="l2", normalised=False), lab.lengths(MADE, 16), "wrong-metric"),
    "half of the components": (spec(dimension=36), lab.unit(MADE.vectors[:, :36]), "dimensions-truncated"),
}  # fmt: skip


@pytest.mark.postgres("18")
@pytest.mark.parametrize("defect", GRAPHS)
def test_another_specification(served: Served, defect: str):
    """Another metric and vectors that were cut are no copy of what serves: told by their name."""
    other, vectors, cause = GRAPHS[defect]
    served.build("bad", records(vectors), other)
    drift = served.judge(MADE.asked[:, : other.dimension])
    assert drift.verdict is Verdict.FAIL
    assert cause in {c.cause for c in drift.causes}, drift.causes


@pytest.mark.postgres("18")
@pytest.mark.parametrize(("graph", "breadth"), [(spec("ivfflat", lists="60"), 1), (spec("hnsw", m="2", ef_construction="4"), 0)])  # fmt: skip
def test_a_graph_that_is_tuned_badly(served: Served, graph: Manifest, breadth: int):
    """A graph of lists of which one is searched, and one with hardly an edge, miss answers: it fails and is named, though each record is right."""
    served.build("bad", records(MADE.vectors), graph)
    drift = served.judge(breadth=breadth)
    assert drift.verdict is Verdict.FAIL
    assert "ann-recall" in {c.cause for c in drift.causes}, drift.causes


def test_answers_with_doubles_and_a_tail(tmp_path: Path):
    """An answer that names a document twice, and one without the newest documents, do not pass and are named by ``drift``."""
    gold = MADE.write(tmp_path / "gold")
    good = lab.exact(MADE, 10)
    twice = make_run("twice", {q: [(h.id, h.score) for h in (hits[0], *hits[:-1])] for q, hits in good.hits.items()})  # fmt: skip
    vectors, ids = lab.without(MADE, 0.1, 0, tail=True)
    tail = lab.exact(MADE, 10, vectors=vectors, ids=ids)
    for run, cause in ((twice, "duplicate-ids"), (tail, "documents-missing")):
        drift = compare(gold, [good], [run], LIKE_FOR_LIKE)
        assert drift.verdict is not Verdict.PASS, cause
        assert cause in {c.cause for c in drift.causes}, drift.causes


GRAPH = {"type": "hnsw", "m": "16", "ef_construction": "64"}
GOOD = {
    "the same": (spec(), MADE.vectors),
    "flat": (spec("flat"), MADE.vectors),
    "a greater graph": (spec("hnsw", m="32", ef_construction="200"), MADE.vectors),
    "float16": (Manifest("vector", Embedding("given", "letters-72", DIMENSION, dtype="float16"), "cosine", ann=GRAPH), MADE.vectors),
    "int8": (spec(), lab.int8(MADE.vectors)),
    "another name of the model": (Manifest("vector", Embedding("given", "letters-72-v1", DIMENSION), "cosine", ann=GRAPH), MADE.vectors),
}  # fmt: skip


@pytest.mark.postgres("18")
@pytest.mark.parametrize("change", GOOD)
def test_a_change_of_storage_passes(served: Served, change: str):
    """The same records without a graph, with a greater one, rounded to sixteen and to eight bits, and under another name of the model pass, with no cause."""
    other, vectors = GOOD[change]
    served.build("bad", records(vectors), other)
    drift = served.judge()
    assert drift.verdict is Verdict.PASS, [c for c in drift.checks if c.answer is not Verdict.PASS]
    assert drift.causes == ()


def test_rounded_answers_pass(tmp_path: Path):
    """Answers over vectors of eight and of sixteen bits, in another order of insertion, and a search that misses a few in a thousand, pass."""
    gold = MADE.write(tmp_path / "gold")
    good = lab.exact(MADE, 10)
    runs = {
        "int8": lab.exact(MADE, 10, vectors=lab.int8(MADE.vectors)),
        "int8, one scale": lab.exact(MADE, 10, vectors=lab.int8(MADE.vectors, per_vector=False)),
        "float16": lab.exact(MADE, 10, vectors=MADE.vectors.astype(np.float16)),
        "order": lab.exact(MADE, 10, order=np.random.default_rng(2).permutation(DOCUMENTS)),
        "graph": lab.approximate(MADE, 10, miss=0.0005, seed=3),
    }
    for name, run in runs.items():
        drift = compare(gold, [good], [run], LIKE_FOR_LIKE)
        assert drift.verdict is Verdict.PASS, (name, [c for c in drift.checks if c.answer is not Verdict.PASS])  # fmt: skip
