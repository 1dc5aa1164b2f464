"""Defect injection: each defect of an index is caught by its answers and named by its cause; each mere change of storage passes.

The same on the shipped gold set and on collections of other shapes, so that no limit fits one collection only.
"""

from pathlib import Path

import numpy as np
import pytest

from indexes import lab
from lockgate.indexes.drift import Drift, compare
from lockgate.indexes.gold import GoldSet, read_gold
from lockgate.indexes.hashing import HashingEmbedder
from lockgate.indexes.limits import LIKE_FOR_LIKE, MODEL_CHANGE
from lockgate.indexes.runs import Run, make_run
from lockgate.record.verdict import Verdict

SHIPPED = Path(__file__).resolve().parents[2] / "examples" / "gold"


def shipped() -> lab.Collection:
    """The shipped set with the vectors of the built-in embedder; paraphrases are queries of their own in the runs."""
    gold = read_gold(SHIPPED)
    model = HashingEmbedder(256)
    qrels = {q: gold.judgements[gold.origin(q)] for q in gold.queries}
    vectors = np.array(model.embed(list(gold.documents.values())))
    asked = np.array(model.embed(list(gold.queries.values())))
    return lab.Collection(gold.documents, gold.queries, qrels, vectors, asked)


MAKERS = {
    "shipped": shipped,
    "topics": lambda: lab.topical(11, 400, 60),
    "clusters": lambda: lab.clustered(12, 700, 80),
    "narrow": lambda: lab.topical(13, 300, 40, dim=64),
}


@pytest.fixture(scope="module", params=list(MAKERS))
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[lab.Collection, GoldSet]:
    """A collection and its gold set."""
    made = MAKERS[request.param]()
    gold = read_gold(SHIPPED) if request.param == "shipped" else made.write(tmp_path_factory.mktemp("gold"))
    return made, gold


def judge(world: tuple[lab.Collection, GoldSet], candidate: Run) -> Drift:
    made, gold = world
    return compare(gold, [lab.exact(made, 10)], [candidate], LIKE_FOR_LIKE)


def explain(drift: Drift) -> str:
    return "; ".join(
        f"{c.id}={c.value} limit {c.limit}: {c.answer}" for c in drift.checks if c.answer is not Verdict.PASS
    )


GOOD = {
    "unchanged": lambda c: lab.exact(c, 10),
    "float16": lambda c: lab.exact(c, 10, vectors=c.vectors.astype(np.float16).astype(np.float32)),
    "int8": lambda c: lab.exact(c, 10, vectors=lab.int8(c.vectors)),
    "int8 with one scale": lambda c: lab.exact(c, 10, vectors=lab.int8(c.vectors, per_vector=False)),
    "well-tuned graph": lambda c: lab.approximate(c, 10, miss=0.0005, seed=3),
    "another insertion order": lambda c: lab.exact(
        c, 10, order=np.random.default_rng(4).permutation(len(c.ids))
    ),
    "l2 on unit vectors": lambda c: lab.exact(c, 10, metric="l2"),
}


@pytest.mark.parametrize("change", GOOD)
def test_a_change_of_storage_passes(world, change):
    """Rounding, another order, a graph that finds nearly all, a metric with the same ranking: the answers are as good, so it passes."""
    drift = judge(world, GOOD[change](world[0]))
    assert drift.verdict is Verdict.PASS, explain(drift)
    assert drift.causes == ()


def _zero(c: lab.Collection, metric: str) -> Run:
    vectors = c.vectors.copy()
    vectors[np.random.default_rng(5).choice(len(vectors), size=max(2, len(vectors) // 10), replace=False)] = 0
    return lab.exact(c, 10, vectors=vectors, metric=metric)


def _twice(c: lab.Collection) -> Run:
    run = lab.exact(c, 10)
    return make_run(
        "twice", {q: [(h.id, h.score) for h in (hits[0], *hits[:-1])] for q, hits in run.hits.items()}
    )


def _without(c: lab.Collection, share: float, *, tail: bool = False) -> Run:
    vectors, ids = lab.without(c, share, 6, tail=tail)
    return lab.exact(c, 10, vectors=vectors, ids=ids)


def _cut(c: lab.Collection, share: float) -> Run:
    keep = int(c.vectors.shape[1] * share)
    return lab.exact(c, 10, vectors=c.vectors[:, :keep], asked=c.asked[:, :keep])


def _nan(c: lab.Collection) -> Run:
    run = lab.exact(c, 10)
    return make_run(
        "nan",
        {
            q: [(h.id, float("nan") if n == 9 else h.score) for n, h in enumerate(hits)]
            for q, hits in run.hits.items()
        },
    )


def _narrow(c: lab.Collection) -> Run:
    return lab.exact(c, 6)


BAD = {
    "10 % of the documents missing": (lambda c: _without(c, 0.10), "documents-missing"),
    "25 % of the documents missing": (lambda c: _without(c, 0.25), "documents-missing"),
    "stale tail": (lambda c: _without(c, 0.10, tail=True), "stale-tail"),
    "10 % of the vectors of another model": (lambda c: lab.exact(c, 10, vectors=lab.foreign(c, 0.1, 7)), "foreign-vectors"),
    "50 % of the vectors of another model": (lambda c: lab.exact(c, 10, vectors=lab.foreign(c, 0.5, 7)), "foreign-vectors"),
    "all vectors of another model": (lambda c: lab.exact(c, 10, vectors=lab.foreign(c, 1.0, 7)), "foreign-vectors"),
    "10 % of the ids shuffled": (lambda c: lab.exact(c, 10, ids=lab.shuffled(c, 0.1, 8)), "ids-shuffled"),
    "all ids shuffled": (lambda c: lab.exact(c, 10, ids=lab.shuffled(c, 1.0, 8)), "ids-shuffled"),
    "zero vectors": (lambda c: _zero(c, "cosine"), "zero-vectors"),
    "scores that are no numbers": (_nan, "zero-vectors"),
    "wrong metric on raw vectors": (lambda c: lab.exact(c, 10, vectors=lab.lengths(c, 9), metric="l2"), "wrong-metric"),
    "unnormalised vectors": (lambda c: lab.exact(c, 10, vectors=lab.lengths(c, 9), metric="ip"), "unnormalised-vectors"),
    "half of the dimensions": (lambda c: _cut(c, 0.5), "dimensions-truncated"),
    "badly tuned graph": (lambda c: lab.approximate(c, 10, miss=0.2, seed=10), "ann-recall"),
    "fewer answers than asked for": (_narrow, "ann-search-narrow"),
    "duplicate ids": (_twice, "duplicate-ids"),
}  # fmt: skip


@pytest.mark.parametrize("defect", BAD)
def test_a_defect_is_caught_and_named(world, defect):
    """Each defect fails, and its cause is among the named ones."""
    make, cause = BAD[defect]
    drift = judge(world, make(world[0]))
    assert drift.verdict is Verdict.FAIL, explain(drift)
    assert cause in [c.cause for c in drift.causes], drift.causes
    assert drift.worst or "twice" in defect or "numbers" in defect or cause == "duplicate-ids"


def test_one_document_in_a_hundred_missing_never_passes(world):
    """1 % missing hardly moves any mean; the documents are counted, so it fails, or holds where too few answers could show it."""
    made, _ = world
    expected = {h.id for hits in lab.exact(made, 10).hits.values() for h in hits}
    for seed in range(5):
        vectors, ids = lab.without(made, 0.01, seed)
        gone = expected - set(ids)
        drift = judge(world, lab.exact(made, 10, vectors=vectors, ids=ids))
        if len(gone) > 1:
            assert drift.verdict is not Verdict.PASS, (gone, explain(drift))


WORDS = [
    "river",
    "lock",
    "gate",
    "water",
    "barge",
    "bridge",
    "harbour",
    "crane",
    "rope",
    "anchor",
    "tide",
    "mill",
    "weir",
    "sluice",
    "pump",
    "valve",
    "chain",
    "tower",
]


def lexical(seed: int, stem: bool, stop: bool) -> tuple[lab.Collection, Run]:
    """A lexical index over texts with inflected words and frequent small ones, ranked by bm25."""
    rng = np.random.default_rng(seed)
    ends, small = ["", "s", "ed", "ing"], ["the", "of", "and", "to", "in"]
    roots = [a[:3] + b for a in WORDS for b in WORDS][:150]
    texts = {f"t{n}": " ".join([f"{roots[i]}{ends[rng.integers(4)]}" for i in rng.integers(0, 150, 25)] + [small[i] for i in rng.integers(0, 5, 12)]) for n in range(200)}  # fmt: skip
    ids = list(texts)
    queries, qrels = {}, {}
    for n in range(40):
        source = ids[rng.integers(200)]
        picked = rng.choice(texts[source].split()[:25], 4, replace=False)
        queries[f"q{n}"] = " ".join([*(w.rstrip("s") for w in picked), "the", "of"])
        qrels[f"q{n}"] = {source: 1}

    def terms(text: str) -> list[str]:
        found = [w for w in text.split() if not (stop and w in small)]
        return [w.removesuffix("ing").removesuffix("ed").removesuffix("s") if stem else w for w in found]

    docs = {d: terms(t) for d, t in texts.items()}
    mean = np.mean([len(t) for t in docs.values()])
    listed = {}
    for qid, text in queries.items():
        scores = dict.fromkeys(ids, 0.0)
        for term in set(terms(text)):
            holding = [d for d in ids if term in docs[d]]
            idf = np.log(1 + (len(ids) - len(holding) + 0.5) / (len(holding) + 0.5))
            for d in holding:
                f = docs[d].count(term)
                scores[d] += idf * f * 2.2 / (f + 1.2 * (0.25 + 0.75 * len(docs[d]) / mean))
        ranked = sorted(ids, key=lambda d: (-scores[d], d))[:10]
        listed[qid] = [(d, scores[d]) for d in ranked if scores[d] > 0]
    return lab.Collection(texts, queries, qrels, np.zeros((200, 1)), np.zeros((40, 1))), make_run(
        "bm25", listed
    )


@pytest.mark.parametrize(("stem", "stop"), [(False, True), (False, False)])
def test_another_analyzer_is_caught_and_named(tmp_path, stem, stop):
    """Without stemming, and without stop words too: the scores of a lexical index move all over, and the analyzer is named."""
    made, before = lexical(14, True, True)
    _, after = lexical(14, stem, stop)
    drift = compare(made.write(tmp_path), [before], [after], LIKE_FOR_LIKE)
    assert drift.verdict is Verdict.FAIL, explain(drift)
    assert "analyzer-changed" in [c.cause for c in drift.causes]


def test_a_small_set_holds(world, tmp_path):
    """Twelve queries cannot tell: equal answers hold, and do not pass."""
    made, _ = world
    few = made._replace(
        queries=dict(list(made.queries.items())[:12]), qrels=dict(list(made.qrels.items())[:12])
    )
    drift = compare(few.write(tmp_path), [lab.exact(few, 10)], [lab.exact(few, 10)], LIKE_FOR_LIKE)
    assert drift.verdict is Verdict.HOLD
    assert {c.id for c in drift.checks if c.answer is Verdict.HOLD} >= {
        "gold-size",
        "overlap-at-k",
        "ndcg-drop",
        "delta-s-diff",
    }


def test_the_mean_alone_would_let_defects_through(world):
    """Mean delta-S stays within 0.02 for a quarter of the documents missing: the trap that the other checks are for."""
    drift = judge(world, _without(world[0], 0.25))
    mean = next(c for c in drift.checks if c.id == "delta-s-diff")
    assert drift.verdict is Verdict.FAIL
    assert mean.answer is not Verdict.FAIL


def test_another_model_of_like_quality_passes_as_a_change_of_model(tmp_path):
    """Profile model-change: other lists are fine while judgements, coverage and delta-S hold up; like for like they are not."""
    made = lab.topical(15, 300, 80, dim=384)
    blur = 0.008 * np.random.default_rng(1).normal(size=made.vectors.shape)
    other = made._replace(vectors=lab.unit(made.vectors + blur))
    gold = made.write(tmp_path)
    limits = [LIKE_FOR_LIKE, MODEL_CHANGE]
    strict, free = (compare(gold, [lab.exact(made, 10)], [lab.exact(other, 10)], one) for one in limits)
    assert strict.verdict is Verdict.FAIL
    assert free.verdict is not Verdict.FAIL, explain(free)
    worse = compare(gold, [lab.exact(made, 10)], [_without(made, 0.25)], MODEL_CHANGE)
    assert worse.verdict is Verdict.FAIL


def test_a_noisy_baseline_holds(tmp_path):
    """Two runs of the baseline that differ by more than half the limit: nothing can be told, so it holds."""
    made = lab.topical(16, 200, 40)
    gold = made.write(tmp_path)
    noisy = [lab.approximate(made, 10, miss=0.35, seed=s) for s in (1, 2)]
    drift = compare(gold, noisy, [noisy[0]], LIKE_FOR_LIKE)
    assert next(c for c in drift.checks if c.id == "noise-floor").answer is Verdict.HOLD
    assert drift.verdict is Verdict.HOLD, explain(drift)


def test_ranks_for_scores_hold_where_scores_would_pass(tmp_path):
    """Scores made from ranks cannot tell near ties from losses: small differences hold, none passes, large ones fail."""
    made = lab.topical(17, 300, 60)
    gold = made.write(tmp_path)

    def ranks(run: Run) -> Run:
        return make_run(
            "ranks", {q: [(h.id, 1.0 / n) for n, h in enumerate(hits, 1)] for q, hits in run.hits.items()}
        )

    base = ranks(lab.exact(made, 10))
    assert compare(gold, [base], [base], LIKE_FOR_LIKE).verdict is Verdict.PASS
    small = compare(
        gold,
        [base],
        [ranks(lab.exact(made, 10, vectors=lab.int8(made.vectors) * 1.0 + 0.002))],
        LIKE_FOR_LIKE,
    )
    assert small.verdict in (Verdict.HOLD, Verdict.PASS), explain(small)
    assert compare(gold, [base], [ranks(_without(made, 0.25))], LIKE_FOR_LIKE).verdict is Verdict.FAIL


def test_the_answer_is_repeatable(world):
    """The same files and seed give the same document, figure by figure."""
    made, gold = world
    runs = [lab.exact(made, 10)], [lab.exact(made, 10, vectors=lab.int8(made.vectors))]
    assert compare(gold, *runs, LIKE_FOR_LIKE) == compare(gold, *runs, LIKE_FOR_LIKE)
