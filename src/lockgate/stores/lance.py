"""LanceDB: a folder with a table for each generation, and an alias that is a tag.

Lance keeps every version of a table, and a tag moves in one step. The alias is a small table of its own whose rows name a
generation; the tag ``live`` says which version of it counts. The generations are no versions of one table, because then
nothing could be written to the one that serves while the next is being built. Readers open the alias, check out the tag,
read the name, and open that table, for every request: whoever keeps a checked-out table stays with the old generation.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any

from lockgate.errors import LockgateError, Refused
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
from lockgate.stores.searching import Answered, Capabilities, Description, Found, alias_of
from lockgate.stores.vectors import Lengths, packed, rounded

TAG = "live"
_METRICS = {"cosine": "cosine", "l2": "l2", "ip": "dot"}
_PIECE = 500
_KEY, _ALIAS = b"lockgate", b"lockgate_alias"


class Lance:
    """Tables of one folder, or of a place that LanceDB itself understands."""

    capabilities = Capabilities(
        "atomic", "exact", "a tag moves in one step; readers check it out for every request"
    )

    def __init__(self, place: str) -> None:
        # Its engine writes warnings past Python's, on standard error, where a progress bar stands.
        os.environ.setdefault("LANCE_LOG", "error")
        try:
            import lancedb
        except ImportError:
            raise not_installed("LanceDB", "lancedb") from None
        try:
            self._db: Any = lancedb.connect(place)
        except (OSError, ValueError, RuntimeError) as error:
            raise LockgateError(f"{place}: {error}", "INDEX_STORE") from None

    # -- tables ---------------------------------------------------------------------------------------

    def _names(self) -> list[str]:
        names: list[str] = []
        token = None
        while True:
            page = self._db.list_tables(page_token=token)
            names += page.tables
            token = page.page_token
            if not token:
                return sorted(names)

    def _open(self, name: str) -> Any:
        """The newest version of a table; None where there is none."""
        try:
            return self._db.open_table(name)
        except ValueError:
            if name in self._names():
                raise
            return None

    def _known(self, physical: str) -> tuple[Any, Manifest]:
        table = self._open(physical)
        kept = ((table.schema.metadata or {}) if table is not None else {}).get(_KEY)
        if kept is None:
            raise unknown(physical)
        return table, read_manifest(kept.decode())

    def create(self, physical: str, manifest: Manifest) -> None:
        """See ``SearchStore``. The manifest is metadata of the table's schema."""
        import pyarrow as pa

        if exists_already(physical, self.manifest(physical), manifest):
            return
        if self._open(physical) is not None:
            raise refuse_stranger(physical)
        refuse_form(manifest, "LanceDB", ("flat", "hnsw", "ivfflat"), halves=True)
        half = manifest.embedding is not None and manifest.embedding.dtype == "float16"
        fields = [pa.field(n, pa.string()) for n in ("id", "text", "payload")]
        fields.append(
            pa.field("embedding", pa.list_(pa.float16() if half else pa.float32(), manifest.dimension))
        )
        if half:
            fields += [pa.field(n, pa.binary()) for n in ("source_hash", "stored_hash")]
        self._db.create_table(physical, schema=pa.schema(fields, metadata={_KEY: manifest.as_json()}))

    def manifest(self, physical: str) -> Manifest | None:
        """See ``SearchStore``."""
        table = self._open(physical)
        kept = ((table.schema.metadata or {}) if table is not None else {}).get(_KEY)
        return read_manifest(kept.decode()) if kept is not None else None

    def _rows(self, table: Any, manifest: Manifest, records: Sequence[Record]) -> Any:
        import numpy as np
        import pyarrow as pa

        whole = last_of_each(records, manifest.dimension)
        half = "source_hash" in table.schema.names
        data = b"".join(packed(r.vector or ()) for r in whole)
        numbers = np.frombuffer(data, dtype=">f4").astype("float16" if half else "float32")
        columns: list[Any] = [pa.array([getattr(r, n) for r in whole], pa.string()) for n in ("id", "text", "payload")]  # fmt: skip
        columns.append(pa.FixedSizeListArray.from_arrays(pa.array(numbers), manifest.dimension))
        if half:
            columns.append(pa.array([vector_hash(packed(r.vector or ())) for r in whole], pa.binary()))
            columns.append(pa.array([vector_hash(packed(rounded(r.vector or ()))) for r in whole], pa.binary()))  # fmt: skip
        return pa.Table.from_arrays(columns, schema=table.schema)

    def upsert(self, physical: str, records: Sequence[Record]) -> None:
        """See ``SearchStore``. A merge on the id; a plain ``add`` would keep both rows."""
        table, manifest = self._known(physical)
        rows = self._rows(table, manifest, records)
        if len(rows):
            merge = table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            self._write(physical, lambda: merge.execute(rows))

    def load(self, physical: str, records: Sequence[Record]) -> None:
        """See ``SearchStore``. One append, which is one version: all of it or nothing."""
        table, manifest = self._known(physical)
        rows = self._rows(table, manifest, records)
        if len(rows):
            self._write(physical, lambda: table.add(rows))

    @staticmethod
    def _write(physical: str, write: Any) -> None:
        try:
            write()
        except (ValueError, RuntimeError, OSError) as error:
            if "NaN" in str(error):
                raise Refused(
                    f"{physical} does not take these vectors: one has a component that is no number",
                    "INDEX_RECORD",
                ) from None
            raise LockgateError(f"{physical}: {str(error)[:300]}", "INDEX_STORE") from None

    def delete(self, physical: str, ids: Sequence[str]) -> None:
        """See ``SearchStore``."""
        table, _ = self._known(physical)
        for start in range(0, len(ids), _PIECE):
            table.delete(_among(ids[start : start + _PIECE]))

    def finalise(self, physical: str, manifest: Manifest) -> None:
        """See ``SearchStore``. What was written after the graph was built is put into it."""
        from lancedb import index as kinds

        kind = manifest.ann.get("type", "flat")
        table, _ = self._known(physical)
        if kind != "flat" and table.count_rows() and not self._graph(table):
            metric: Any = _METRICS[manifest.metric]
            if kind == "hnsw":
                config: Any = kinds.HnswFlat(
                    distance_type=metric, num_partitions=1, m=int(manifest.ann.get("m", "16")),
                    ef_construction=int(manifest.ann.get("ef_construction", "64")),
                )  # fmt: skip
            else:
                config = kinds.IvfFlat(
                    distance_type=metric, num_partitions=int(manifest.ann.get("lists", "1"))
                )
            table.create_index("embedding", config=config)
        table.optimize()

    @staticmethod
    def _graph(table: Any) -> Any:
        return next((i for i in table.list_indices() if list(i.columns) == ["embedding"]), None)

    # -- reading --------------------------------------------------------------------------------------

    def _batches(self, table: Any, columns: list[str]) -> Iterator[Any]:
        count = table.count_rows()
        if count:
            yield from table.search().select(columns).limit(count).to_batches()

    def last_id(self, physical: str) -> str | None:
        """See ``SearchStore``. There is no order, so all ids are read."""
        table, _ = self._known(physical)
        found = (i for batch in self._batches(table, ["id"]) for i in batch.column("id").to_pylist())
        return max(found, default=None)

    def scan(self, physical: str) -> Iterator[tuple[Record, bytes]]:
        """See ``SearchStore``."""
        for row in self._scanned(physical):
            yield Record(row["id"], row["text"], row["payload"], tuple(row["embedding"])), _source(row)

    def record_digests(self, physical: str, ids: Sequence[str]) -> dict[str, bytes]:
        """See ``LiveStore``. What is not in the graph yet is searched beside it."""
        table, _ = self._known(physical)
        found: dict[str, bytes] = {}
        for start in range(0, len(ids), _PIECE):
            part = ids[start : start + _PIECE]
            # Without a limit of its own a search ends after ten rows; two of one id would be told by ``describe``.
            asked = table.search().where(_among(part)).select(table.schema.names).limit(2 * len(part))
            for row in asked.to_arrow().to_pylist():
                found[row["id"]] = record_digest(row["id"], row["text"], row["payload"], _source(row))
        return found

    def _scanned(self, physical: str) -> Iterator[dict[str, Any]]:
        table, _ = self._known(physical)
        for batch in self._batches(table, table.schema.names):
            for row in batch.to_pylist():
                row["embedding"] = [float(x) for x in row["embedding"]]
                yield row

    def count(self, physical: str) -> int:
        """See ``SearchStore``."""
        return int(self._known(physical)[0].count_rows())

    def content(self, physical: str) -> Content:
        """See ``SearchStore``."""
        return content_of(self.scan(physical))

    def describe(self, physical: str) -> Description:
        """See ``SearchStore``."""
        table, _ = self._known(physical)
        lengths = Lengths()
        ids: set[str] = set()
        wrong = 0
        for row in self._scanned(physical):
            lengths.add(row["embedding"])
            ids.add(row["id"])
            kept = row.get("stored_hash")
            wrong += kept is not None and kept != vector_hash(packed(row["embedding"]))
        graph = self._graph(table)
        metric, ann = "", {"type": "flat"}
        if graph is not None:
            metric = str((graph.index_details or {}).get("metric_type", "")).lower().replace("dot", "ip")
            ann = {"type": str(graph.index_type), "details": str(graph.index_details)}
        return Description(
            lengths.count, table.schema.field("embedding").type.list_size, metric, True, graph is not None,
            graph.num_unindexed_rows or 0 if graph is not None else 0, lengths.zero,
            lengths.broken, lengths.low, lengths.high, wrong, lengths.count - len(ids), ann=ann, engine=f"LanceDB {_version()}",
        )  # fmt: skip

    def query(
        self, target: str, question: "str | Sequence[float]", k: int, *, search: int = 0, exact: bool = False
    ) -> Answered:
        """See ``SearchStore``. The metric is asked for by name: with another one than the graph's, Lance searches without it."""
        assert not isinstance(question, str)
        physical = self.resolve(target) or target
        table, manifest = self._known(physical)
        refuse_question(question, manifest.dimension, physical)
        asked = table.search(list(question), vector_column_name="embedding").distance_type(_METRICS[manifest.metric])  # fmt: skip
        if exact:
            asked = asked.bypass_vector_index()
        elif manifest.ann.get("type", "flat") != "flat":
            asked = asked.nprobes(max(1, search or 20)).ef(max(k, search, 40))
        rows = asked.limit(k).select(["id", "_distance"]).to_list()
        one = 1.0 if manifest.metric in ("cosine", "ip") else 0.0
        hits = [Found(r["id"], one - r["_distance"] if one else -(max(0.0, r["_distance"]) ** 0.5)) for r in rows]  # fmt: skip
        return Answered(physical, tuple(sorted(hits, key=lambda f: (-f.score, f.id))))

    # -- alias ----------------------------------------------------------------------------------------

    def resolve(self, alias: str) -> str | None:
        """See ``SearchStore``."""
        table = self._open(alias)
        if table is None or _ALIAS not in (table.schema.metadata or {}) or TAG not in table.tags.list():
            return None
        table.checkout(TAG)
        found: str = table.to_arrow()["physical"][0].as_py()
        return found

    def swap(self, alias: str, expect: str | None, to: str) -> None:
        """See ``SearchStore``. The new row is a version that nobody reads until the tag moves to it."""
        import pyarrow as pa

        if not must_move(alias, self.resolve(alias), expect, to):
            return
        self._known(to)
        table = self._open(alias)
        schema = pa.schema([pa.field("physical", pa.string())], metadata={_ALIAS: "1"})
        if table is None:
            table = self._db.create_table(alias, schema=schema)
        elif _ALIAS not in (table.schema.metadata or {}):
            raise Refused(f"{alias} is a table that lockgate did not make", "INDEX_ALIAS")
        table.add(pa.Table.from_pylist([{"physical": to}], schema=schema), mode="overwrite")
        (table.tags.update if TAG in table.tags.list() else table.tags.create)(TAG, table.version)

    def drop(self, physical: str) -> None:
        """See ``SearchStore``. Lance would drop what a tag of another table names."""
        names = (physical, alias_of(physical))
        refuse_drop(physical, {n: to for n in names if n and (to := self.resolve(n)) is not None})
        if self._open(physical) is not None:
            self._db.drop_table(physical)

    def physical(self, name: str) -> list[str]:
        """See ``SearchStore``."""
        return [n for n in self._names() if n.startswith(f"{name}__") and self.manifest(n) is not None]

    def close(self) -> None:
        """See ``SearchStore``. A connection holds nothing open."""


def _among(ids: Sequence[str]) -> str:
    return "id IN ({})".format(", ".join("'" + i.replace("'", "''") + "'" for i in ids))


def _source(row: dict[str, Any]) -> bytes:
    """The hash of a row's source vector: kept beside a half, else that of the vector itself."""
    kept: bytes | None = row.get("source_hash")
    return kept or vector_hash(packed([float(x) for x in row["embedding"]]))


def _version() -> str:
    from importlib.metadata import version

    return version("lancedb")
