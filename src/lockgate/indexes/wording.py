"""Does a run come from an index of words? Every answer of one shares a word with its query; some neighbours of a vector do not."""

import re
from collections import Counter

from lockgate.indexes.gold import GoldSet
from lockgate.indexes.runs import Run

_WORD = re.compile(r"[^\W_]+")
RARE = 0.2
"""A word that stands in more than this share of the documents says nothing."""
NEARLY_ALL = 0.99


def shares_words(gold: GoldSet, run: Run, k: int) -> bool:
    """True when nearly all of the first ``k`` answers share a rare word's beginning with their query."""
    texts = {d: _stems(gold.documents[d]) for hits in run.hits.values() for d in (h.id for h in hits[:k])}
    counted = Counter(stem for stems in texts.values() for stem in stems)
    rare = {stem for stem, n in counted.items() if n <= max(2, RARE * len(texts))}
    shared = total = 0
    for qid, hits in run.hits.items():
        asked = _stems(gold.queries[qid]) & rare
        for hit in hits[:k]:
            total += 1
            shared += bool(asked & texts[hit.id])
    return bool(total) and shared >= NEARLY_ALL * total


def _stems(text: str) -> set[str]:
    """The first four letters of every word: inflections fall together."""
    return {word[:4] for word in _WORD.findall(text.casefold())}
