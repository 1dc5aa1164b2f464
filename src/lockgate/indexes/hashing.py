"""The pinned reference embedder: signed feature hashing of words and character trigrams. Deterministic, no model, no download.

It measures how far the *texts* that two indexes return are from the query, so it must never change: ``REFERENCE`` names
its version, which stands in every report. It is not a good retriever and does not have to be.
"""

import hashlib
import math
import re
from collections.abc import Sequence

_WORD = re.compile(r"[^\W_]+")
REFERENCE = "lockgate-hashing-1"


class HashingEmbedder:
    """Texts → unit vectors of ``dimension`` components (the zero vector for a text without a word).

    ``seed`` makes another model of the same dimension. A word counts 1 + log of its occurrences; its trigrams share
    half of that, so that inflections stay near each other.
    """

    def __init__(self, dimension: int = 1024, seed: int = 0) -> None:
        self.dimension = dimension
        self.name = REFERENCE if (dimension, seed) == (1024, 0) else f"{REFERENCE}/{dimension}/{seed}"
        self.revision = "1"
        self._seed = seed.to_bytes(8, "big", signed=True)
        self._features: dict[str, tuple[tuple[int, float], ...]] = {}

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """The vectors of ``texts``, in their order."""
        return [self._dense(self.sparse(text)) for text in texts]

    def _dense(self, sparse: dict[int, float]) -> list[float]:
        vector = [0.0] * self.dimension
        for place, value in sparse.items():
            vector[place] = value
        return vector

    def sparse(self, text: str) -> dict[int, float]:
        """The vector of ``text`` as place → component, of length 1; empty for a text without a word."""
        counts: dict[str, int] = {}
        for word in _WORD.findall(text.casefold()):
            counts[word] = counts.get(word, 0) + 1
        vector: dict[int, float] = {}
        for word, count in counts.items():
            weight = 1.0 + math.log(count)
            for place, value in self._of(word):
                vector[place] = vector.get(place, 0.0) + weight * value
        length = math.sqrt(sum(v * v for v in vector.values()))
        return {place: v / length for place, v in vector.items()} if length else {}

    def _of(self, word: str) -> tuple[tuple[int, float], ...]:
        known = self._features.get(word)
        if known is None:
            framed = f"^{word[:64]}$"
            grams = {framed[i : i + 3] for i in range(len(framed) - 2)}
            share = 0.5 / math.sqrt(len(grams)) if grams else 0.0
            known = self._features[word] = (
                self._place(f"w{word}", 1.0),
                *(self._place(f"g{gram}", share) for gram in sorted(grams)),
            )
        return known

    def _place(self, feature: str, weight: float) -> tuple[int, float]:
        # surrogatepass: a lone surrogate in somebody's JSON must not end a gate
        code = hashlib.blake2b(
            feature.encode("utf-8", "surrogatepass"), digest_size=8, key=self._seed
        ).digest()
        number = int.from_bytes(code, "big")
        return number % self.dimension, weight if number >> 63 else -weight


def cosine(one: dict[int, float], other: dict[int, float]) -> float:
    """The cosine of two sparse unit vectors; 0 when one is empty."""
    small, large = (one, other) if len(one) < len(other) else (other, one)
    return sum(value * large[place] for place, value in small.items() if place in large)
