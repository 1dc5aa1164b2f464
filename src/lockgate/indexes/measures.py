"""What a list of answers is worth: against judgements (nDCG, recall, coverage) and against another list (overlap, RBO)."""

import math
from collections.abc import Mapping, Sequence


def ndcg(ranked: Sequence[str], grades: Mapping[str, int], k: int) -> float:
    """nDCG@k as trec_eval has it: gain = grade (below 0 counts 0), discount log2(rank + 1). 0 without a relevant document."""
    ideal = sorted((g for g in grades.values() if g > 0), reverse=True)[:k]
    best = _dcg(ideal)
    return _dcg([max(0, grades.get(d, 0)) for d in ranked[:k]]) / best if best else 0.0


def _dcg(gains: Sequence[int]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))


def recall(ranked: Sequence[str], grades: Mapping[str, int], k: int) -> float:
    """The share of the relevant documents that stand in the first ``k``. 0 without a relevant document."""
    relevant = {d for d, g in grades.items() if g > 0}
    return len(relevant & set(ranked[:k])) / len(relevant) if relevant else 0.0


def coverage(ranked: Sequence[str], grades: Mapping[str, int], lengths: Mapping[str, int], k: int) -> float:
    """The share of the target's tokens that the first ``k`` answers hold.

    The target are the relevant documents, the best-graded first and the shorter first among equals, as far as ``k``
    answers can hold them.
    """
    relevant = sorted(
        (d for d, g in grades.items() if g > 0), key=lambda d: (-grades[d], lengths.get(d, 0), d)
    )
    total = sum(lengths.get(d, 0) for d in relevant[:k])
    held = sum(lengths.get(d, 0) for d in set(relevant) & set(ranked[:k]))
    return min(1.0, held / total) if total else 0.0


def overlap(one: Sequence[str], other: Sequence[str], k: int) -> float:
    """The share of the first ``k`` of ``one`` that stands in the first ``k`` of ``other``; 1 for two empty lists."""
    wanted = set(one[:k])
    size = max(len(wanted), len(set(other[:k])))
    return len(wanted & set(other[:k])) / size if size else 1.0


def rbo(one: Sequence[str], other: Sequence[str], p: float = 0.9) -> float:
    """Rank-biased overlap, extrapolated (Webber, Moffat and Zobel 2010, equation 32). Items must be distinct in each list.

    1 for equal lists, 0 for lists without a common item; 1 for two empty lists.
    """
    short, long = sorted((one, other), key=len)
    s, length = len(short), len(long)
    if length == 0:
        return 1.0
    if s == 0:
        return 0.0
    seen_short: set[str] = set()
    seen_long: set[str] = set()
    agree: list[int] = []
    common = 0
    for depth in range(length):
        if depth < s:
            a, b = short[depth], long[depth]
            if a == b:
                common += 1
            else:
                common += (a in seen_long) + (b in seen_short)
            seen_short.add(a)
            seen_long.add(b)
        else:
            b = long[depth]
            common += b in seen_short
            seen_long.add(b)
        agree.append(common)
    x_s, x_l = agree[s - 1], agree[-1]
    first = sum(agree[d - 1] / d * p**d for d in range(1, length + 1))
    second = sum(x_s * (d - s) / (s * d) * p**d for d in range(s + 1, length + 1))
    return (1 - p) / p * (first + second) + ((x_l - x_s) / length + x_s / s) * p**length
