"""Index files in a folder, and an alias that is a small file replaced in one rename. With FAISS where it is installed.

A generation is a folder: ``manifest.json``, ``records.jsonl`` and ``vectors.f32`` (written anew as a whole by ``finalise``),
and ``index.faiss``. Until then what was upserted stands in ``incoming.jsonl``, to which batches are appended.
"""

import json
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lockgate.errors import LockgateError, Refused
from lockgate.record.artifact import write_atomically
from lockgate.stores.content import Content, Record, content_of, vector_hash
from lockgate.stores.manifest import Manifest, read_manifest
from lockgate.stores.refusals import (
    exists_already,
    last_of_each,
    must_move,
    refuse_drop,
    refuse_form,
    refuse_question,
    unknown,
)
from lockgate.stores.searching import Answered, Capabilities, Description, Found
from lockgate.stores.vectors import Lengths, norm, packed, single, unpacked


class PointerFiles:
    """One folder with generations and aliases."""

    capabilities = Capabilities("atomic", "exact", "readers read the pointer file for every request")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._loaded: dict[str, tuple[Manifest, list[Record], Any]] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LockgateError(f"{folder}: {error.strerror}", "INDEX_STORE") from None

    def create(self, physical: str, manifest: Manifest) -> None:
        """See ``SearchStore``."""
        if exists_already(physical, self.manifest(physical), manifest):
            return
        refuse_form(manifest, "a folder of index files", ("flat", "hnsw"))
        place = self.folder / physical
        place.mkdir(exist_ok=True)
        write_atomically(place / "manifest.json", manifest.as_json().encode())

    def manifest(self, physical: str) -> Manifest | None:
        """See ``SearchStore``."""
        path = self.folder / physical / "manifest.json"
        return read_manifest(path.read_text("utf-8")) if path.is_file() else None

    def upsert(self, physical: str, records: Sequence[Record]) -> None:
        """See ``SearchStore``."""
        manifest = self.manifest(physical)
        if manifest is None:
            raise unknown(physical)
        whole = last_of_each(records, manifest.dimension)
        self._append(physical, [[r.id, r.text, r.payload, list(r.vector or ())] for r in whole])

    def load(self, physical: str, records: Sequence[Record]) -> None:
        """See ``SearchStore``."""
        self.upsert(physical, records)

    def delete(self, physical: str, ids: Sequence[str]) -> None:
        """See ``SearchStore``."""
        if self.manifest(physical) is None:
            raise unknown(physical)
        self._append(physical, [[id_] for id_ in ids])

    def _append(self, physical: str, lines: list[Any]) -> None:
        self._loaded.pop(physical, None)
        with (self.folder / physical / "incoming.jsonl").open("ab") as file:
            # One write: a batch that was cut by a kill has no line end, and is left out when it is read.
            file.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())

    def finalise(self, physical: str, manifest: Manifest) -> None:
        """See ``SearchStore``."""
        records = sorted(self._records(physical), key=lambda r: r.id)
        place = self.folder / physical
        rows = [json.dumps([r.id, r.text, r.payload]) for r in records]
        vectors = b"".join(packed(r.vector or ()) for r in records)
        write_atomically(place / "vectors.f32", vectors)
        write_atomically(place / "records.jsonl", "".join(row + "\n" for row in rows).encode())
        graph = _graph(manifest, vectors, len(records))
        if graph is not None:
            write_atomically(place / "index.faiss", graph)
        (place / "incoming.jsonl").unlink(missing_ok=True)
        self._loaded.pop(physical, None)

    def _records(self, physical: str) -> list[Record]:
        place = self.folder / physical
        found: dict[str, Record] = {}
        manifest = self.manifest(physical)
        if manifest is None:
            raise unknown(physical)
        if (place / "records.jsonl").is_file():
            data, width = (place / "vectors.f32").read_bytes(), 4 * manifest.dimension
            lines = (place / "records.jsonl").read_text("utf-8").splitlines()
            if len(data) != width * len(lines):
                raise LockgateError(
                    f"{place}: {len(lines)} records and {len(data)} bytes of vectors do not fit together",
                    "INDEX_STORE",
                )
            for n, line in enumerate(lines):
                id_, text, payload = json.loads(line)
                found[id_] = Record(id_, text, payload, unpacked(data[n * width : (n + 1) * width]))
        if (place / "incoming.jsonl").is_file():
            whole = (place / "incoming.jsonl").read_bytes().split(b"\n")[:-1]
            for row in (json.loads(line) for line in whole if _is_json(line)):
                found.pop(row[0], None)
                if len(row) > 1:
                    found[row[0]] = Record(row[0], row[1], row[2], single(row[3]))
        return list(found.values())

    def last_id(self, physical: str) -> str | None:
        """See ``SearchStore``."""
        return max((r.id for r in self._records(physical)), default=None)

    def scan(self, physical: str) -> Iterator[tuple[Record, bytes]]:
        """See ``SearchStore``."""
        for r in sorted(self._records(physical), key=lambda r: r.id):
            yield r, vector_hash(packed(r.vector or ()))

    def count(self, physical: str) -> int:
        """See ``SearchStore``."""
        return len(self._records(physical))

    def content(self, physical: str) -> Content:
        """See ``SearchStore``."""
        return content_of(self.scan(physical))

    def describe(self, physical: str) -> Description:
        """See ``SearchStore``."""
        manifest, records, graph = self._load(physical)
        lengths = Lengths()
        for r in records:
            lengths.add(r.vector or ())
        held = graph.ntotal if graph is not None else len(records)
        metric = manifest.metric
        if graph is not None:
            metric = "l2" if graph.metric_type == 1 else "cosine" if manifest.metric == "cosine" else "ip"
        incoming = (self.folder / physical / "incoming.jsonl").is_file()
        return Description(
            len(records), manifest.dimension if records else None, metric, not incoming, graph is not None,
            max(0, len(records) - held), lengths.zero, lengths.broken,
            lengths.low, lengths.high, duplicates=max(0, held - len(records)), ann=manifest.ann,
            engine="FAISS" if graph is not None else "flat files",
        )  # fmt: skip

    def _load(self, physical: str) -> tuple[Manifest, list[Record], Any]:
        if physical not in self._loaded:
            manifest = self.manifest(physical)
            if manifest is None:
                raise unknown(physical)
            records = sorted(self._records(physical), key=lambda r: r.id)
            path, graph = self.folder / physical / "index.faiss", None
            if path.is_file():
                import faiss

                graph = faiss.read_index(str(path))
            self._loaded[physical] = (manifest, records, graph)
        return self._loaded[physical]

    def query(
        self, target: str, question: "str | Sequence[float]", k: int, *, search: int = 0, exact: bool = False
    ) -> Answered:
        """See ``SearchStore``."""
        assert not isinstance(question, str)
        physical = self.resolve(target) or target
        manifest, records, graph = self._load(physical)
        refuse_question(question, manifest.dimension, physical)
        if graph is not None and not exact:
            import faiss
            import numpy

            if hasattr(graph, "hnsw"):
                graph.hnsw.efSearch = max(k, search, 40)
            asked = numpy.array([question], dtype="float32")
            if manifest.metric == "cosine":
                faiss.normalize_L2(asked)
            scores, places = graph.search(asked, k)
            sign = -1.0 if manifest.metric == "l2" else 1.0
            hits = [
                Found(records[p].id, sign * float(s))
                for s, p in zip(scores[0], places[0], strict=True)
                if p >= 0
            ]
        else:
            every = [Found(r.id, _score(manifest.metric, question, r.vector or ())) for r in records]
            hits = sorted(every, key=lambda f: (-f.score, f.id))[:k]
        return Answered(physical, tuple(hits))

    def resolve(self, alias: str) -> str | None:
        """See ``SearchStore``."""
        path = self.folder / f"{alias}.alias"
        try:
            found: str = json.loads(path.read_text("utf-8"))["physical"]
        except FileNotFoundError:
            return None
        return found

    def swap(self, alias: str, expect: str | None, to: str) -> None:
        """See ``SearchStore``."""
        if not must_move(alias, self.resolve(alias), expect, to):
            return
        if self.manifest(to) is None:
            raise unknown(to)
        write_atomically(self.folder / f"{alias}.alias", json.dumps({"physical": to}).encode())

    def drop(self, physical: str) -> None:
        """See ``SearchStore``."""
        refuse_drop(physical, {p.stem: json.loads(p.read_text("utf-8"))["physical"] for p in self.folder.glob("*.alias")})  # fmt: skip
        self._loaded.pop(physical, None)
        shutil.rmtree(self.folder / physical, ignore_errors=True)

    def physical(self, name: str) -> list[str]:
        """See ``SearchStore``."""
        return sorted(p.parent.name for p in self.folder.glob(f"{name}__*/manifest.json"))

    def close(self) -> None:
        """See ``SearchStore``."""
        self._loaded.clear()


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _graph(manifest: Manifest, vectors: bytes, count: int) -> bytes | None:
    """The FAISS index over all vectors; None where FAISS is not installed or the specification wants none."""
    if manifest.ann.get("type", "flat") == "flat" or not count:
        return None
    try:
        import faiss
        import numpy
    except ImportError:
        raise Refused(
            "FAISS is not installed", "INDEX_SPEC", next="pip install 'lockgate[indexes]', or --ann flat"
        ) from None
    data = numpy.frombuffer(vectors, dtype=">f4").astype("float32").reshape(count, manifest.dimension)
    if manifest.metric == "cosine":
        faiss.normalize_L2(data)
    measure = faiss.METRIC_L2 if manifest.metric == "l2" else faiss.METRIC_INNER_PRODUCT
    graph = faiss.IndexHNSWFlat(manifest.dimension, int(manifest.ann.get("m", "16")), measure)
    graph.hnsw.efConstruction = int(manifest.ann.get("ef_construction", "64"))
    graph.add(data)
    return bytes(faiss.serialize_index(graph))


def _score(metric: str, one: Sequence[float], other: Sequence[float]) -> float:
    if metric == "l2":
        return -math.dist(one, other)
    product = sum(a * b for a, b in zip(one, other, strict=True))
    if metric == "ip":
        return product
    length = norm(one) * norm(other)
    return product / length if length else math.nan
