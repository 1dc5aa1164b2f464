"""The limits of a drift check: each has a name, a value and where it comes from. Two profiles set them."""

from typing import NamedTuple

import msgspec

from lockgate.errors import ConfigError


class Limit(NamedTuple):
    """One limit: its meaning and its source. ``kind`` tells which side is good: ``most``, ``least``."""

    meaning: str
    kind: str
    source: str


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The limits of one drift check. ``TABLE`` tells what each means and where it comes from."""

    profile: str = "like-for-like"
    k: int = 10
    min_queries: int = 20
    results_per_query: float = 1.0
    duplicate_ids: int = 0
    scores_not_finite: int = 0
    overlap: float = 0.90
    overlap_settled: float = 0.98
    low_overlap: float = 0.02
    rbo: float = 0.97
    rbo_p: float = 0.9
    score_noise: float = 0.05
    ann_misses: float = 0.0025
    documents_lost: float = 0.02
    documents_doubt: float = 0.2
    score_rounding: float = 0.004
    ndcg_drop: float = 0.01
    recall_drop: float = 0.02
    hit_to_miss: float = 0.05
    delta_s_diff: float = 0.02
    delta_s_abort: float = 0.05
    delta_s_p95: float = 0.10
    coverage: float = 0.70
    coverage_drop: float = 0.05
    lambda_convergent: float = 0.80
    lambda_chaotic: float = 0.02
    lambda_split: float = 0.10
    noise_floor: float = 0.5
    band: float = 2.5

    @property
    def same_model(self) -> bool:
        """True in the profile like-for-like, where the lists themselves have to stay."""
        return self.profile == "like-for-like"

    def misses_of(self, documents: int) -> float:
        """The share of its answers that an approximate index over so many documents may miss: a small graph is searched nearly whole."""
        return self.ann_misses * min(2.0, documents / 1000)


LIKE_FOR_LIKE = Limits()
MODEL_CHANGE = Limits(profile="model-change", ndcg_drop=0.02, delta_s_p95=0.15)
PROFILES = {limits.profile: limits for limits in (LIKE_FOR_LIKE, MODEL_CHANGE)}

_PROPOSED = "gate recommendation for a like-for-like copy"
_OURS = "ours: separates the injected defects from storage changes on the collections of tests/indexes"

TABLE: dict[str, Limit] = {
    "k": Limit("How many answers of each query count.", "-", "the production k; 10 where none is given"),
    "min_queries": Limit("Fewer judged queries hold: a mean over them is noise.", "least", "OpsDeploy gates ask for 20-40 gold queries"),
    "results_per_query": Limit("Share of the queries that get as many answers as before.", "least", f"{_PROPOSED}: k results for every query"),
    "duplicate_ids": Limit("Answers that name a document twice.", "most", "HYG: ids are unique in an answer"),
    "scores_not_finite": Limit("Queries with a score that is no number (zero or broken vectors).", "most", f"{_PROPOSED}: zero-norm and NaN = 0"),
    "overlap": Limit("Mean overlap@k; only exact ties may swap.", "least", _OURS),
    "overlap_settled": Limit("Mean overlap@k after near ties are settled.", "least", f"{_PROPOSED}: overlap@10 mean >= 0.98"),
    "low_overlap": Limit("Share of the queries whose settled overlap@k is below 0.8.", "most", f"{_PROPOSED}: overlap@10 min >= 0.8; a share, because an approximate index may lose one query"),
    "rbo": Limit("Mean rank-biased overlap after near ties are settled.", "least", f"{_PROPOSED}: RBO >= 0.97"),
    "rbo_p": Limit("The persistence of rank-biased overlap.", "-", "Webber, Moffat and Zobel 2010"),
    "score_noise": Limit("Noise of a score over the spread of a list.", "most", _OURS),
    "ann_misses": Limit("Share of its answers that an approximate index may miss, for each 1,000 documents, up to 2,000.", "most", "measured: HNSW m=16 ef=64 agrees with itself on 0.995 over some thousand documents, and on all over some hundred"),
    "documents_lost": Limit("Below this probability, search misses do not explain the documents that no query finds any more.", "least", _OURS),
    "documents_doubt": Limit("Below this probability two or more such documents hold.", "least", _OURS),
    "score_rounding": Limit("How far a cosine may move.", "most", "eight bits on vectors and queries: sqrt(2) / 127 / sqrt(12) = 0.0032"),
    "ndcg_drop": Limit("Fall of the mean nDCG@k.", "most", f"{_PROPOSED}: nDCG drop <= 0.01; model change <= 0.02"),
    "recall_drop": Limit("Fall of the mean recall@k.", "most", "gold regression <= 2 points"),
    "hit_to_miss": Limit("Share of the queries that had a relevant answer and lost the last one.", "most", "model change: no query from hit to miss above a share"),
    "delta_s_diff": Limit("Mean change of delta-S, pre to post.", "most", "seed 001: drift <= 0.02 on gold"),
    "delta_s_abort": Limit("Above this the mean change fails; between, it holds.", "most", "seed 001: abort above 0.05"),
    "delta_s_p95": Limit("95th percentile of the change of delta-S per query.", "most", "sources 3.1: p95 <= 0.10; index swap: hard stop above 0.15"),
    "coverage": Limit("Mean share of the target's tokens in the answers.", "least", "coverage >= 0.70"),
    "coverage_drop": Limit("Where the baseline itself is near or below the floor: how far the candidate may fall below it.", "most", "coverage tracking: warn at a drop > 0.05"),
    "lambda_convergent": Limit("Share of the gold queries in the state convergent.", "least", "lambda_observe: convergence rate >= 0.80"),
    "lambda_chaotic": Limit("Share in the state chaotic.", "most", "lambda_observe asks for 0 over 3 x 2 runs; one run of an approximate index may lose one"),
    "lambda_split": Limit("Share in the state recursive: runs of one query disagree.", "most", "lambda_observe: split <= 10 %"),
    "noise_floor": Limit("The baseline's own noise over the limit of delta-S; above it nothing can be told.", "most", "hold when noise exceeds half the limit"),
    "band": Limit("A mean within its limit passes only if its interval stays within band x limit.", "most", "0.05 / 0.02 of seed 001"),
}  # fmt: skip
"""Every field of ``Limits`` but the profile."""


def choose(profile: str, changes: dict[str, str], k: int | None = None) -> Limits:
    """The limits of ``profile`` with ``changes`` (name → text of a number). Raises ``ConfigError`` that names the limit."""
    limits = PROFILES[profile]
    values: dict[str, float | int] = {}
    for name, text in changes.items():
        field = name.replace("-", "_")
        if field not in TABLE:
            raise ConfigError(f"there is no limit {name!r}", "USAGE", next="One of: " + ", ".join(TABLE))
        try:
            value = float(text)
        except ValueError:
            raise ConfigError(
                f"limit {name}: {text!r} is not a number", "USAGE", next=f"--limit {name}=0.1"
            ) from None
        if not 0 <= value < 1_000_000:
            raise ConfigError(f"limit {name}: {text} is out of range", "USAGE", next=f"--limit {name}=0.1")
        whole = isinstance(getattr(limits, field), int)
        if whole and value != int(value):
            raise ConfigError(
                f"limit {name}: {text} is not a whole number", "USAGE", next=f"--limit {name}=10"
            )
        values[field] = int(value) if whole else value
    if k is not None:
        values["k"] = k
    if values.get("k", 1) < 1:
        raise ConfigError("limit k is at least 1", "USAGE", next="--k 10")
    return msgspec.structs.replace(limits, **values)
