"""What OpenSearch and Elasticsearch say differently: the field of a vector, the search for the nearest, a point in time, scores.

Plain functions of values; nothing here touches a server. The forms are those of the documentation of OpenSearch 2 and 3 and of
Elasticsearch 8 and 9.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from lockgate.stores.manifest import Manifest

FIELD = "embedding"


class PointInTime(NamedTuple):
    """How a point in time is opened and closed: paths, and the names of its id."""

    path: str
    answer: str
    close: str
    closing: Any


class Dialect(Protocol):
    """One of the two."""

    name: str

    def settings(self, manifest: Manifest, version: tuple[int, int]) -> dict[str, Any]:
        """Settings of an index; with those that keep the source whole, so that a vector is read as it was written."""

    def vector(self, manifest: Manifest) -> dict[str, Any]:
        """The mapping of the field of vectors."""

    def nearest(self, question: Sequence[float], k: int, breadth: int) -> dict[str, Any]:
        """The body of an approximate search."""

    def exact(self, question: Sequence[float], metric: str) -> dict[str, Any]:
        """The query that scores every record."""

    def score(self, metric: str, value: float, *, exact: bool) -> float:
        """A score of theirs as a cosine, a negative distance or an inner product."""

    def open(self, index: str, id_: str = "") -> PointInTime:
        """How to open a point in time over ``index``, and to close ``id_``."""

    def read(self, mapping: dict[str, Any]) -> tuple[int, str, dict[str, str]]:
        """Dimension, metric and graph of a mapping."""


def _inner_product(value: float) -> float:
    """Both map an inner product x to x + 1, and to 1 / (1 - x) below 0."""
    return value - 1 if value >= 1 else 1 - 1 / value if value > 0 else float("-inf")


def _distance(value: float) -> float:
    """Both map a distance d to 1 / (1 + d * d)."""
    return -(max(0.0, 1 / value - 1) ** 0.5) if value > 0 else float("-inf")


class OpenSearchDialect:
    """OpenSearch with its k-NN plugin, whose engine is Lucene here."""

    name = "OpenSearch"
    _spaces = {"cosine": "cosinesimil", "l2": "l2", "ip": "innerproduct"}

    def settings(self, manifest: Manifest, version: tuple[int, int]) -> dict[str, Any]:
        """See ``Dialect``. Since 3.0 the source of a vector is derived from the graph unless that is turned off."""
        if manifest.kind == "text":
            return {}
        graph = manifest.ann.get("type", "flat") != "flat"
        return {"knn": graph} | ({"knn.derived_source.enabled": False} if version >= (3, 0) else {})

    def vector(self, manifest: Manifest) -> dict[str, Any]:
        """See ``Dialect``."""
        field: dict[str, Any] = {"type": "knn_vector", "dimension": manifest.dimension}
        space = self._spaces[manifest.metric]
        if manifest.ann.get("type", "flat") == "flat":
            return field | {"space_type": space}
        parameters = {"m": int(manifest.ann.get("m", "16")), "ef_construction": int(manifest.ann.get("ef_construction", "100"))}  # fmt: skip
        return field | {"method": {"name": "hnsw", "engine": "lucene", "space_type": space, "parameters": parameters}}  # fmt: skip

    def nearest(self, question: Sequence[float], k: int, breadth: int) -> dict[str, Any]:
        """See ``Dialect``. Lucene searches as broadly as k says."""
        return {"query": {"knn": {FIELD: {"vector": list(question), "k": max(k, breadth)}}}}

    def exact(self, question: Sequence[float], metric: str) -> dict[str, Any]:
        """See ``Dialect``."""
        return {
            "script_score": {
                "query": {"match_all": {}},
                "script": {"lang": "knn", "source": "knn_score", "params": {"field": FIELD, "query_value": list(question), "space_type": self._spaces[metric]}},
            }
        }  # fmt: skip

    def score(self, metric: str, value: float, *, exact: bool) -> float:
        """See ``Dialect``. The script gives 1 + cosine, the graph (1 + cosine) / 2."""
        if metric == "cosine":
            return value - 1 if exact else 2 * value - 1
        return _distance(value) if metric == "l2" else _inner_product(value)

    def open(self, index: str, id_: str = "") -> PointInTime:
        """See ``Dialect``."""
        path = f"/{index}/_search/point_in_time?keep_alive=2m&allow_partial_pit_creation=false"
        return PointInTime(path, "pit_id", "/_search/point_in_time", {"pit_id": [id_]})

    def read(self, mapping: dict[str, Any]) -> tuple[int, str, dict[str, str]]:
        """See ``Dialect``."""
        method = mapping.get("method") or {}
        space = method.get("space_type") or mapping.get("space_type") or ""
        graph = {"type": str(method.get("name", "flat")), **{k: str(v) for k, v in (method.get("parameters") or {}).items()}}  # fmt: skip
        return int(mapping.get("dimension", 0)), {v: k for k, v in self._spaces.items()}.get(space, space), graph  # fmt: skip


class ElasticDialect:
    """Elasticsearch."""

    name = "Elasticsearch"
    _similarities = {"cosine": "cosine", "l2": "l2_norm", "ip": "max_inner_product"}
    _scripts = {
        "cosine": "cosineSimilarity(params.asked, 'embedding') + 1.0", "l2": "1 / (1 + Math.pow(l2norm(params.asked, 'embedding'), 2))",
        "ip": "double x = dotProduct(params.asked, 'embedding'); return x < 0 ? 1 / (1 - x) : x + 1",
    }  # fmt: skip

    def settings(self, manifest: Manifest, version: tuple[int, int]) -> dict[str, Any]:
        """See ``Dialect``. Since 9.2 a source comes without its vectors, or with ones that were normalised and multiplied again."""
        if manifest.kind == "text" or version < (9, 2):
            return {}
        return {"mapping.exclude_source_vectors": False}

    def vector(self, manifest: Manifest) -> dict[str, Any]:
        """See ``Dialect``. Its default would round to eight bits or fewer."""
        field: dict[str, Any] = {"type": "dense_vector", "dims": manifest.dimension}
        if manifest.ann.get("type", "flat") == "flat":
            return field | {"index": False}
        options = {"type": "hnsw", "m": int(manifest.ann.get("m", "16")), "ef_construction": int(manifest.ann.get("ef_construction", "100"))}  # fmt: skip
        return field | {"index": True, "similarity": self._similarities[manifest.metric], "index_options": options}  # fmt: skip

    def nearest(self, question: Sequence[float], k: int, breadth: int) -> dict[str, Any]:
        """See ``Dialect``."""
        return {"knn": {"field": FIELD, "query_vector": list(question), "k": k, "num_candidates": min(10_000, max(k, breadth, 40))}}  # fmt: skip

    def exact(self, question: Sequence[float], metric: str) -> dict[str, Any]:
        """See ``Dialect``."""
        script = {"source": self._scripts[metric], "params": {"asked": list(question)}}
        return {"script_score": {"query": {"exists": {"field": FIELD}}, "script": script}}

    def score(self, metric: str, value: float, *, exact: bool) -> float:
        """See ``Dialect``."""
        if metric == "cosine":
            return value - 1 if exact else 2 * value - 1
        return _distance(value) if metric == "l2" else _inner_product(value)

    def open(self, index: str, id_: str = "") -> PointInTime:
        """See ``Dialect``."""
        return PointInTime(f"/{index}/_pit?keep_alive=2m", "id", "/_pit", {"id": id_})

    def read(self, mapping: dict[str, Any]) -> tuple[int, str, dict[str, str]]:
        """See ``Dialect``. A field without a graph names no metric."""
        options = mapping.get("index_options") or {}
        graph = {k: str(v) for k, v in options.items()} if mapping.get("index") else {"type": "flat"}
        said = str(mapping.get("similarity", ""))
        return int(mapping.get("dims", 0)), {v: k for k, v in self._similarities.items()}.get(said, said), graph  # fmt: skip


DIALECTS: dict[str, Dialect] = {"opensearch": OpenSearchDialect(), "elasticsearch": ElasticDialect()}
