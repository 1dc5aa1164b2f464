"""nDCG and recall against the reference implementation; overlap, RBO, bootstrap and lambda by their properties."""

import math
import random

import ir_measures
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ir_measures import R, nDCG

from lockgate.indexes.hashing import REFERENCE, HashingEmbedder, cosine
from lockgate.indexes.measures import coverage, ndcg, overlap, rbo, recall
from lockgate.indexes.resample import bootstrap, percentile, poisson_tail
from lockgate.indexes.stability import Observation, State, observe


@pytest.mark.parametrize("k", [1, 5, 10, 100])
def test_ndcg_and_recall_are_those_of_trec_eval(k):
    """On random judgements and rankings, graded 0 to 3, both measures equal ir-measures to 1e-9."""
    rng = random.Random(k)
    qrels, run = {}, {}
    for q in range(40):
        docs = [f"d{n}" for n in range(60)]
        qrels[f"q{q}"] = {d: rng.choice([0, 0, 0, 1, 2, 3]) for d in rng.sample(docs, 25)}
        ranked = rng.sample(docs, 30)
        run[f"q{q}"] = {d: 100.0 - n for n, d in enumerate(ranked)}
    theirs = {
        (m.query_id, str(m.measure)): m.value for m in ir_measures.iter_calc([nDCG @ k, R @ k], qrels, run)
    }
    for q, scores in run.items():
        ranked = sorted(scores, key=lambda d: -scores[d])
        assert math.isclose(ndcg(ranked, qrels[q], k), theirs[q, f"nDCG@{k}"], abs_tol=1e-9)
        assert math.isclose(recall(ranked, qrels[q], k), theirs[q, f"R@{k}"], abs_tol=1e-9)


ranked = st.lists(st.integers(0, 30).map(str), unique=True, max_size=15)


@given(ranked, ranked)
def test_overlap_and_rbo_are_symmetric_and_bounded(one, other):
    """Both are the same either way round, lie in [0, 1], are 1 for a list and itself."""
    for measure in (lambda a, b: overlap(a, b, 10), rbo):
        assert math.isclose(measure(one, other), measure(other, one), abs_tol=1e-12)
        assert -1e-12 <= measure(one, other) <= 1 + 1e-12
        assert math.isclose(measure(one, one), 1.0)


def test_rbo_of_known_lists():
    """Extrapolated RBO: disjoint lists 0; the value of a worked example; an early swap costs more than a late one."""
    assert rbo(list("abc"), list("xyz")) == 0
    # depth 1: 0/1, 2: 2/2, 3: 3/3 with p = 0.9: (1-p)/p * (0 + 0.81 + 0.729) + 1 * 0.729
    assert math.isclose(rbo(list("abc"), list("bac")), 0.1 / 0.9 * (0.81 + 0.729) + 0.729)
    assert rbo(list("abcdef"), list("bacdef")) < rbo(list("abcdef"), list("abcdfe")) < 1


def test_coverage_counts_tokens_of_what_can_be_reached():
    """A long relevant document counts more, and documents beyond k are not asked for."""
    grades, lengths = {"a": 2, "b": 1, "c": 0}, {"a": 30, "b": 10, "c": 99}
    assert coverage(["a"], grades, lengths, 10) == 0.75
    assert coverage(["a"], grades, lengths, 1) == 1.0
    assert coverage(["c"], grades, lengths, 10) == 0.0


def test_the_reference_embedder_never_changes():
    """The pinned embedder gives these very components: a change of it would change every figure ever reported."""
    assert REFERENCE == "lockgate-hashing-1"
    sparse = HashingEmbedder().sparse("The gates open, the gates close")
    assert sorted((p, round(v, 6)) for p, v in sparse.items())[:3] == PINNED
    assert math.isclose(math.fsum(v * v for v in sparse.values()), 1.0)
    assert HashingEmbedder().sparse("...") == {}


PINNED = [(6, 0.121769), (14, 0.071919), (66, 0.071919)]


def test_another_seed_is_another_model():
    """Two seeds share a dimension and nothing else; within one, related texts are nearer than others."""
    one, other = HashingEmbedder(384), HashingEmbedder(384, 7)
    text = "canal boats wait at the lock"
    assert abs(cosine(one.sparse(text), other.sparse(text))) < 0.3
    near, far = one.sparse("a boat waits at the canal lock"), one.sparse("interest rates rose again")
    assert cosine(one.sparse(text), near) > cosine(one.sparse(text), far) + 0.2


def test_bootstrap_percentile_and_poisson():
    """The interval covers the mean, is a point for equal values, repeats by its seed; tails are those of the tables."""
    values = [0.1, 0.0, -0.1, 0.3, 0.0, 0.2] * 5
    a, b = bootstrap(values, seed=1), bootstrap(values, seed=1)
    assert a == b
    assert a.low < a.mean < a.high
    assert bootstrap([0.5] * 9, seed=1) == (0.5, 0.5, 0.5)
    assert math.isnan(bootstrap([], seed=1).mean)
    assert percentile([3, 1, 2], 0.95) == 3
    assert math.isclose(poisson_tail(1, 1.0), 1 - math.exp(-1))
    assert math.isclose(poisson_tail(3, 1.0), 1 - math.exp(-1) * 2.5)
    assert poisson_tail(0, 5) == 1
    assert poisson_tail(2, 0) == 0


@pytest.mark.parametrize(
    ("runs", "agreement", "state"),
    [
        ([(0.0, 1.0, False)], 1.0, State.CONVERGENT),
        ([(0.5, 1.0, False)], 1.0, State.CONVERGENT),
        ([(-0.3, 0.9, False)] * 6, 1.0, State.CONVERGENT),
        ([(0.0, 1.0, False), (0.01, 0.7, False)], 1.0, State.RECURSIVE),
        ([(0.0, 1.0, False)] * 2, 0.5, State.RECURSIVE),
        ([(0.03, 0.9, False)], 1.0, State.DIVERGENT),
        ([(0.0, 0.4, False)], 1.0, State.DIVERGENT),
        ([(0.05, 0.9, False), (0.0, 1.0, False)], 1.0, State.CHAOTIC),
        ([(0.0, 0.9, True)] * 2, 1.0, State.CHAOTIC),
        ([(0.0, 0.9, True), (0.0, 0.9, False)], 1.0, State.CONVERGENT),
    ],
)
def test_lambda_states(runs, agreement, state):
    """The states by the operational definition, over runs of seeds and paraphrases."""
    assert observe([Observation(*r) for r in runs], agreement, same_model=True) is state
