"""Qdrant through its client: a folder (the client's local mode, a re-implementation in Python) or the URL of a server.

Ids are UUIDs made from ours, which stand in the payload. Cosine collections keep unit vectors, so every point carries the
hash of its source vector, and of what was read back after it was written.
"""

import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from lockgate.errors import Busy, LockgateError, Refused
from lockgate.stores.content import Content, Record, content_of, record_digest, vector_hash
from lockgate.stores.manifest import Manifest, read_manifest
from lockgate.stores.refusals import (
    exists_already,
    last_of_each,
    must_move,
    not_installed,
    refuse_drop,
    refuse_form,
    refuse_question,
    refuse_stranger,
    unknown,
)
from lockgate.stores.searching import Answered, Capabilities, Description, Found
from lockgate.stores.vectors import Lengths, norm, packed

_SPACE = uuid.UUID("9c1c6d0e-6a0f-5d5e-8f3a-2f6f0b1f6b11")
_DISTANCE = {"cosine": "Cosine", "l2": "Euclid", "ip": "Dot"}


class Qdrant:
    """Collections and aliases of one place."""

    def __init__(self, place: str, key: str = "") -> None:
        try:
            from qdrant_client import QdrantClient
        except ImportError:
            raise not_installed("the client of Qdrant", "indexes") from None
        remote = "://" in place
        self.capabilities = Capabilities(
            "atomic", "unit", "" if remote else "the client's local mode, not a server"
        )
        try:
            self._client = (
                QdrantClient(url=place, api_key=key or None, check_compatibility=False)
                if remote
                else QdrantClient(path=place)
            )
        except RuntimeError:
            raise Busy(
                f"{place} is held by another client of Qdrant: a folder belongs to one at a time", state="Nothing was changed.",
                next="End the process that has it open, or run a server and give its URL.",
            ) from None  # fmt: skip
        except (ValueError, OSError) as error:
            raise LockgateError(f"{place}: {error}", "INDEX_STORE") from None

    def create(self, physical: str, manifest: Manifest) -> None:
        """See ``SearchStore``."""
        from qdrant_client import models

        if exists_already(physical, self.manifest(physical), manifest):
            return
        refuse_form(manifest, "Qdrant", ("flat", "hnsw"))
        if self._client.collection_exists(physical):
            raise refuse_stranger(physical)
        graph = None
        if manifest.ann.get("type") == "hnsw":
            graph = models.HnswConfigDiff(
                m=int(manifest.ann.get("m", "16")),
                ef_construct=int(manifest.ann.get("ef_construction", "100")),
            )
        self._client.create_collection(
            physical,
            vectors_config=models.VectorParams(
                size=manifest.dimension, distance=models.Distance(_DISTANCE[manifest.metric])
            ),
            hnsw_config=graph,
            metadata={"lockgate": manifest.as_json()},
        )

    def manifest(self, physical: str) -> Manifest | None:
        """See ``SearchStore``."""
        if physical not in {c.name for c in self._client.get_collections().collections}:
            return None
        kept = self._client.get_collection(physical).config.metadata or {}
        return read_manifest(kept["lockgate"]) if "lockgate" in kept else None

    def upsert(self, physical: str, records: Sequence[Record]) -> None:
        """See ``SearchStore``. What was written is read back, compared, and its hash kept."""
        from qdrant_client import models

        manifest = self._known(physical)
        last = {r.id: r for r in last_of_each(records, manifest.dimension)}
        points: list[Any] = []
        for r in last.values():
            payload = {
                "_id": r.id,
                "_text": r.text,
                "_payload": r.payload,
                "_vh": vector_hash(packed(r.vector or ())).hex(),
            }
            points.append(models.PointStruct(id=_point(r.id), vector=list(r.vector or ()), payload=payload))
        if not points:
            return
        try:
            self._client.upsert(physical, points=points, wait=True)
        except ValueError as error:
            raise Refused(f"{physical} does not take these vectors: {error}", "INDEX_RECORD") from None
        kept: list[Any] = []
        for found in self._client.retrieve(physical, [p.id for p in points], with_vectors=True):
            stored: Any = found.vector
            source = last[(found.payload or {})["_id"]].vector or ()
            length = norm(source) if manifest.metric == "cosine" else 1.0
            if length and any(abs(s - x / length) > 1e-5 for s, x in zip(stored, source, strict=True)):
                raise LockgateError(
                    f"{physical} does not keep the vector of {(found.payload or {})['_id']!r}", "INDEX_STORE"
                )
            told = models.SetPayload(payload={"_sh": vector_hash(packed(stored)).hex()}, points=[found.id])
            kept.append(models.SetPayloadOperation(set_payload=told))
        self._client.batch_update_points(physical, update_operations=kept, wait=True)

    def load(self, physical: str, records: Sequence[Record]) -> None:
        """See ``SearchStore``."""
        self.upsert(physical, records)

    def delete(self, physical: str, ids: Sequence[str]) -> None:
        """See ``SearchStore``."""
        from qdrant_client import models

        self._known(physical)  # the client would delete through an alias
        points: list[Any] = [_point(i) for i in ids]
        self._client.delete(physical, points_selector=models.PointIdsList(points=points), wait=True)

    def finalise(self, physical: str, manifest: Manifest) -> None:
        """See ``SearchStore``. A server builds its graph by itself; ``describe`` tells what is not in it yet."""

    def last_id(self, physical: str) -> str | None:
        """See ``SearchStore``. Points are ordered by UUID, so all are read."""
        return max((r.id for r, _ in self.scan(physical)), default=None)

    def record_digests(self, physical: str, ids: Sequence[str]) -> dict[str, bytes]:
        """See ``LiveStore``."""
        found: dict[str, bytes] = {}
        for p in self._client.retrieve(physical, [_point(i) for i in ids], with_payload=True):
            kept = p.payload or {}
            vector = bytes.fromhex(kept["_vh"])
            found[kept["_id"]] = record_digest(kept["_id"], kept["_text"], kept["_payload"], vector)
        return found

    def _points(self, physical: str) -> Iterator[Any]:
        offset: Any = None
        while True:
            found, offset = self._client.scroll(
                physical, limit=500, offset=offset, with_payload=True, with_vectors=True
            )
            yield from found
            if offset is None:
                return

    def scan(self, physical: str) -> Iterator[tuple[Record, bytes]]:
        """See ``SearchStore``."""
        for p in self._points(physical):
            kept = p.payload or {}
            yield (
                Record(kept["_id"], kept["_text"], kept["_payload"], tuple(p.vector)),
                bytes.fromhex(kept["_vh"]),
            )

    def count(self, physical: str) -> int:
        """See ``SearchStore``."""
        self._known(physical)
        return int(self._client.count(physical, exact=True).count)

    def content(self, physical: str) -> Content:
        """See ``SearchStore``."""
        return content_of(self.scan(physical))

    def describe(self, physical: str) -> Description:
        """See ``SearchStore``."""
        info = self._client.get_collection(physical)
        vectors: Any = info.config.params.vectors
        metric = {v: k for k, v in _DISTANCE.items()}[str(vectors.distance.value)]
        lengths, wrong = Lengths(), 0
        for p in self._points(physical):
            lengths.add(p.vector)
            wrong += vector_hash(packed(p.vector)).hex() != (p.payload or {}).get("_sh")
        return Description(
            lengths.count, vectors.size, metric, True, True, 0, lengths.zero, lengths.broken,
            lengths.low, lengths.high, wrong, engine="Qdrant, " + (self.capabilities.note or "server"),
        )  # fmt: skip

    def query(
        self, target: str, question: "str | Sequence[float]", k: int, *, search: int = 0, exact: bool = False
    ) -> Answered:
        """See ``SearchStore``."""
        from qdrant_client import models

        assert not isinstance(question, str)
        physical = self.resolve(target) or target
        manifest = self._known(physical)
        refuse_question(question, manifest.dimension, physical)
        # The local mode always searches exactly, and warns when it is told how.
        local = bool(self.capabilities.note)
        parameters = None if local else models.SearchParams(hnsw_ef=max(k, search, 40), exact=exact)
        points = self._client.query_points(
            physical, query=list(question), limit=k, search_params=parameters, with_payload=["_id"]
        ).points
        sign = -1.0 if manifest.metric == "l2" else 1.0
        hits = [Found((p.payload or {})["_id"], sign * p.score) for p in points]
        return Answered(physical, tuple(sorted(hits, key=lambda f: (-f.score, f.id))))

    def _known(self, physical: str) -> Manifest:
        manifest = self.manifest(physical)
        if manifest is None:
            raise unknown(physical)
        return manifest

    def _aliases(self) -> dict[str, str]:
        return {a.alias_name: a.collection_name for a in self._client.get_aliases().aliases}

    def resolve(self, alias: str) -> str | None:
        """See ``SearchStore``."""
        return self._aliases().get(alias)

    def swap(self, alias: str, expect: str | None, to: str) -> None:
        """See ``SearchStore``. One request deletes and creates; a create alone would re-point whatever is there."""
        from qdrant_client import models

        now = self.resolve(alias)
        if not must_move(alias, now, expect, to):
            return
        self._known(to)
        if alias in {c.name for c in self._client.get_collections().collections}:
            raise Refused(
                f"there is a collection of the name {alias}, so no alias can have it", "INDEX_ALIAS"
            )
        steps: list[Any] = []
        if now is not None:
            steps.append(models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias)))
        steps.append(
            models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=to, alias_name=alias))
        )
        self._client.update_collection_aliases(steps)

    def drop(self, physical: str) -> None:
        """See ``SearchStore``. The store itself would drop a live collection, and its alias with it."""
        refuse_drop(physical, self._aliases())
        self._client.delete_collection(physical)

    def physical(self, name: str) -> list[str]:
        """See ``SearchStore``."""
        found = sorted(c.name for c in self._client.get_collections().collections)
        return [c for c in found if c.startswith(f"{name}__")]

    def close(self) -> None:
        """See ``SearchStore``."""
        self._client.close()


def _point(id_: str) -> str:
    return str(uuid.uuid5(_SPACE, id_))
