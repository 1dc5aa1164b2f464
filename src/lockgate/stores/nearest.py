"""The nearest vectors without a graph, for stores that only know approximate search. Needs NumPy, as their clients do."""

from collections.abc import Iterable, Sequence
from typing import Any

from lockgate.stores.content import Record
from lockgate.stores.searching import Found


class Nearest:
    """The vectors of one physical index in memory: four bytes a component."""

    def __init__(self, metric: str, rows: "Iterable[tuple[Record, bytes]]") -> None:
        import numpy as np

        self._metric = metric
        self._ids: list[str] = []
        vectors: list[Any] = []
        for record, _ in rows:
            self._ids.append(record.id)
            vectors.append(np.asarray(record.vector, dtype="float32"))
        self._matrix: Any = np.stack(vectors) if vectors else np.zeros((0, 0), dtype="float32")

    def best(self, question: Sequence[float], k: int) -> list[Found]:
        """The best ``k``, ties by id. A vector of length 0 has no cosine and is left out."""
        import numpy as np

        if not self._ids:
            return []
        asked = np.asarray(question, dtype="float32")
        if self._metric == "l2":
            scores: Any = -np.linalg.norm(self._matrix - asked, axis=1)
        else:
            scores = self._matrix @ asked
            if self._metric == "cosine":
                with np.errstate(divide="ignore", invalid="ignore"):
                    scores = scores / (np.linalg.norm(self._matrix, axis=1) * np.linalg.norm(asked))
        wanted = [(float(s), i) for s, i in zip(scores, self._ids, strict=True) if np.isfinite(s)]
        return [Found(i, s) for s, i in sorted(wanted, key=lambda f: (-f[0], f[1]))[:k]]
