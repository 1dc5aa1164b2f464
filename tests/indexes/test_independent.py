"""The drift gate on collections that it was not tuned on: other texts, other sizes, other shapes of vectors, both run formats, near ties and copies.

Each defect must not pass and is named; each mere change of storage does not fail. The worlds are drawn from a seed; `make soak` draws more of them.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from indexes import lab
from lockgate.indexes.drift import Drift, compare
from lockgate.indexes.gold import GoldSet, read_gold
from lockgate.indexes.limits import LIKE_FOR_LIKE
from lockgate.indexes.runs import Run, read_run
from lockgate.record.verdict import Verdict


def zipfian(
    seed: int, documents: int, queries: int, *, low: int, high: int, copies: float = 0.0
) -> lab.Collection:
    """Texts of a Zipf vocabulary over a dozen topics, some of them twice; vectors are projected word weights."""
    rng = np.random.default_rng(seed)
    vocabulary = 1500
    base = 1 / np.arange(1, vocabulary + 1) ** 1.05
    words = [hashlib.md5(f"{seed}/{n}".encode()).hexdigest()[: 3 + n % 6] for n in range(vocabulary)]
    topics = [0.6 * t / t.sum() + 0.4 * base / base.sum() for t in (rng.permutation(base) for _ in range(12))]
    drawn = [
        rng.choice(vocabulary, rng.integers(low, high), p=topics[rng.integers(12)]) for _ in range(documents)
    ]
    drawn += [drawn[n] for n in rng.choice(documents, int(copies * documents), replace=False)]
    docs = {f"{n}": " ".join(words[w] for w in many) for n, many in enumerate(drawn)}
    counts = np.stack([np.bincount(many, minlength=vocabulary) for many in drawn])
    idf = np.log((len(docs) + 1) / ((counts > 0).sum(0) + 0.5))
    project = rng.normal(size=(vocabulary, 128))
    sources = rng.choice(documents, queries, replace=queries > documents)
    asked = np.zeros((queries, vocabulary))
    texts, qrels = {}, {}
    for n, source in enumerate(sources):
        few = rng.choice(drawn[source], min(len(drawn[source]), 5), replace=False)
        asked[n] = np.bincount(few, minlength=vocabulary)
        texts[f"q{n}"] = " ".join(words[w] for w in few)
        same = {d: 2 for d, text in docs.items() if text == docs[f"{source}"]}
        qrels[f"q{n}"] = same
    return lab.Collection(
        docs, texts, qrels, lab.unit(np.log1p(counts) * idf @ project), lab.unit(asked * idf @ project)
    )


WORLDS = {
    "thirty short texts": (lambda s: zipfian(s, 30, 20, low=4, high=9), "json", None),
    "long texts, copies": (lambda s: zipfian(s, 120, 30, low=60, high=120, copies=0.3), "trec", 6),
    "near ties": (lambda s: lab.clustered(s, 200, 30, clusters=6), "trec", 4),
    "narrow vectors": (lambda s: lab.topical(s, 150, 30, dim=32), "json", 5),
}


@pytest.fixture(
    params=[pytest.param((w, 7), id=w) for w in WORLDS]
    + [pytest.param((w, s), id=f"{w} {s}", marks=pytest.mark.soak) for w in WORLDS for s in range(20, 30)]
)
def world(request: pytest.FixtureRequest, tmp_path: Path):
    """A collection, its gold set, and a way to write a run of it as a file and read it back."""
    name, seed = request.param
    make, form, digits = WORLDS[name]
    made = make(seed)

    def filed(run: Run) -> Run:
        path = tmp_path / "run"
        with path.open("w") as file:
            for qid, hits in run.hits.items():
                scored = [(h.id, h.score if digits is None else round(h.score, digits)) for h in hits]
                if form == "json":
                    file.write(
                        json.dumps({"qid": qid, "hits": [{"id": d, "score": s} for d, s in scored]}) + "\n"
                    )
                else:
                    file.writelines(f"{qid} Q0 {d} {n} {s} tag\n" for n, (d, s) in enumerate(scored, 1))
        return read_run(path)

    made.write(tmp_path / "gold")
    return made, read_gold(tmp_path / "gold"), filed


def judged(world, candidate: Run) -> Drift:
    made, gold, filed = world
    assert isinstance(gold, GoldSet)
    return compare(gold, [filed(lab.exact(made, 10))], [filed(candidate)], LIKE_FOR_LIKE)


def test_changes_of_storage_do_not_fail(world):
    """float16, int8 in two scales, another insertion order, distances for similarities, another scale in the same order: each passes."""
    made = world[0]
    lists = lab.exact(made, 10)
    good = {
        "float16": lab.exact(made, 10, vectors=made.vectors.astype(np.float16).astype(np.float32)),
        "int8": lab.exact(made, 10, vectors=lab.int8(made.vectors)),
        "int8, one scale": lab.exact(made, 10, vectors=lab.int8(made.vectors, per_vector=False)),
        "order": lab.exact(made, 10, order=np.random.default_rng(1).permutation(len(made.ids))),
        "distances": Run(
            "d",
            {q: tuple(h._replace(score=h.score - 1) for h in hits) for q, hits in lists.hits.items()},
            distances=True,
        ),
        "another scale": Run(
            "s",
            {
                q: tuple(h._replace(score=1 / (3 - 2 * h.score)) for h in hits)
                for q, hits in lists.hits.items()
            },
        ),
    }
    for name, run in good.items():
        drift = judged(world, run)
        assert drift.verdict is Verdict.PASS, (
            name,
            [c for c in drift.checks if c.answer is not Verdict.PASS],
        )


def test_defects_never_pass_and_are_named(world):
    """Missing documents, another model, moved ids, zero vectors, other lengths and metrics, cut dimensions, ids twice: caught, with their name among the causes."""
    made = world[0]
    rng = np.random.default_rng(3)
    zero = made.vectors.copy()
    zero[rng.choice(len(zero), max(2, len(zero) // 5), replace=False)] = 0
    half = made.vectors.shape[1] // 2
    bad = {
        "documents-missing": [
            lab.exact(made, 10, vectors=v, ids=i)
            for v, i in (lab.without(made, share, 6) for share in (0.1, 0.25))
        ],
        "stale-tail": [
            lab.exact(made, 10, vectors=v, ids=i) for v, i in (lab.without(made, 0.2, 6, tail=True),)
        ],
        "foreign-vectors": [
            lab.exact(made, 10, vectors=lab.foreign(made, share, 7)) for share in (0.1, 0.5, 1.0)
        ],
        "ids-shuffled": [lab.exact(made, 10, ids=lab.shuffled(made, share, 8)) for share in (0.2, 1.0)],
        "zero-vectors": [lab.exact(made, 10, vectors=zero)],
        "unnormalised-vectors": [lab.exact(made, 10, vectors=lab.lengths(made, 9), metric="ip")],
        "wrong-metric": [lab.exact(made, 10, vectors=lab.lengths(made, 9), metric="l2")],
        "dimensions-truncated": [
            lab.exact(made, 10, vectors=made.vectors[:, :half], asked=made.asked[:, :half])
        ],
    }
    for cause, runs in bad.items():
        for run in runs:
            drift = judged(world, run)
            assert drift.verdict is not Verdict.PASS, cause
            assert cause in {c.cause for c in drift.causes}, (cause, drift.causes)


def test_one_lost_document_of_a_small_corpus_is_not_let_through(world):
    """A small graph is searched nearly whole, so one document that no query finds any more holds at least, where several answers expected it."""
    made = world[0]
    answers = lab.exact(made, 10)
    expected = [h.id for hits in answers.hits.values() for h in hits]
    often = max(sorted(set(expected)), key=expected.count)
    kept = [n for n, d in enumerate(made.ids) if d != often]
    drift = judged(world, lab.exact(made, 10, vectors=made.vectors[kept], ids=[made.ids[n] for n in kept]))
    assert drift.verdict is not Verdict.PASS
    assert "documents-missing" in {c.cause for c in drift.causes}
