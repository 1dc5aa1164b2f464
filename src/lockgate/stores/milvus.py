"""Milvus through its client: a file that ends in ``.db`` (Milvus Lite, a server of its own inside the process), or a URL.

The primary key is a digest of our id, because a filter of the client breaks on an id that holds a quote; the id itself is a
field. Every write is an upsert: a plain insert may keep two rows of one key on a server.
"""

import hashlib
import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lockgate.errors import Busy, ConfigError, LockgateError, Refused, Unreachable
from lockgate.stores.content import Content, Record, content_of, record_digest, vector_hash
from lockgate.stores.manifest import Manifest, read_manifest
from lockgate.stores.nearest import Nearest
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
from lockgate.stores.vectors import Lengths, packed

_METRICS = {"cosine": "COSINE", "l2": "L2", "ip": "IP"}
_GRAPHS = {"flat": "FLAT", "hnsw": "HNSW", "ivfflat": "IVF_FLAT"}
_TEXT = 65_535
"""The longest VARCHAR, in bytes."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_NO_COLLECTION = 100
INDEX_WAIT = 600.0
"""Seconds that ``finalise`` waits for the graph."""


class Milvus:
    """Collections and aliases of one place. ``key`` is a token, or ``user:password``."""

    def __init__(
        self, place: str, key: str = "", *, sleep: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic
    ) -> None:  # fmt: skip
        try:
            from pymilvus import MilvusClient
            from pymilvus.exceptions import MilvusException
        except ImportError:
            raise not_installed("the client of Milvus", "milvus") from None
        remote = "://" in place
        if not remote and not place.endswith(".db"):
            raise ConfigError(
                f"a file of Milvus Lite ends in .db, unlike {place!r}", "USAGE", next="--place index.db, or the URL of a server"
            )  # fmt: skip
        self.capabilities = (
            Capabilities("two_step", "exact", "a proxy of Milvus may resolve the alias more than once in one request while it is altered")
            if remote
            else Capabilities("atomic", "exact", "Milvus Lite, inside this process; not a server")
        )  # fmt: skip
        # They log each refused call with its stack; what is refused is told by us.
        for name in ("pymilvus", "milvus_lite"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        self._sleep, self._clock = sleep, clock
        self._failed: type[Exception] = MilvusException
        self._exact: dict[str, Nearest] = {}
        self._loaded: set[str] = set()
        try:
            self._client: Any = MilvusClient(place, token=key) if remote else MilvusClient(place)
        except MilvusException as error:
            if remote:
                raise Unreachable(f"Milvus at {place} does not answer: {_said(error)}") from None
            raise _held(place, _said(error)) from None
        except (OSError, RuntimeError) as error:
            raise _held(place, str(error)) from None
        self._file = "" if remote else place

    # -- collections ----------------------------------------------------------------------------------

    def create(self, physical: str, manifest: Manifest) -> None:
        """See ``SearchStore``. The graph is declared with the collection; Milvus builds it as segments are sealed."""
        from pymilvus import DataType

        if exists_already(physical, self.manifest(physical), manifest):
            return
        if physical in self._client.list_collections():
            raise refuse_stranger(physical)
        kind = manifest.ann.get("type", "flat")
        refuse_form(manifest, "Milvus", tuple(_GRAPHS))
        if not _NAME.fullmatch(physical):
            raise Refused(
                f"Milvus does not take the name {physical}", "INDEX_SPEC", next="A generation without '-'."
            )
        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("pk", DataType.VARCHAR, is_primary=True, max_length=32)
        for name in ("id", "text", "payload"):
            schema.add_field(name, DataType.VARCHAR, max_length=_TEXT)
        schema.add_field("vh", DataType.VARCHAR, max_length=64)
        schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=manifest.dimension)
        parameters = {"M": manifest.ann.get("m", "16"), "efConstruction": manifest.ann.get("ef_construction", "64")} if kind == "hnsw" else {"nlist": manifest.ann.get("lists", "128")} if kind == "ivfflat" else {}  # fmt: skip
        graph = self._client.prepare_index_params()
        graph.add_index(
            "embedding", index_type=_GRAPHS[kind], metric_type=_METRICS[manifest.metric],
            params={k: int(v) for k, v in parameters.items()},
        )  # fmt: skip
        try:
            self._client.create_collection(
                physical, schema=schema, index_params=graph, properties={"lockgate": manifest.as_json()}, consistency_level="Strong"
            )  # fmt: skip
        except self._failed as error:
            raise Refused(f"Milvus does not take {physical}: {_said(error)}", "INDEX_SPEC") from None

    def _kept(self, physical: str) -> str | None:
        """The manifest of a collection of this very name, not of what an alias of that name points to."""
        if physical not in self._client.list_collections():
            return None
        found: str | None = self._client.describe_collection(physical)["properties"].get("lockgate")
        return found

    def manifest(self, physical: str) -> Manifest | None:
        """See ``SearchStore``."""
        kept = self._kept(physical)
        return read_manifest(kept) if kept else None

    def _known(self, physical: str) -> Manifest:
        """The manifest of a collection that can be read: after a restart one is released, and answers nothing until it is loaded."""
        kept = self._kept(physical)
        if not kept:
            raise unknown(physical)
        if physical not in self._loaded:
            self._client.load_collection(physical)
            self._loaded.add(physical)
        return read_manifest(kept)

    def upsert(self, physical: str, records: Sequence[Record]) -> None:
        """See ``SearchStore``."""
        manifest = self._known(physical)
        whole = last_of_each(records, manifest.dimension)
        for r in whole:
            for name, text in (("id", r.id), ("text", r.text), ("payload", r.payload)):
                if len(text.encode()) > _TEXT:
                    raise Refused(
                        f"record {r.id[:60]!r}: its {name} is longer than the {_TEXT} bytes that Milvus keeps",
                        "INDEX_RECORD",
                    )
        self._exact.pop(physical, None)
        rows = [
            {"pk": _key(r.id), "id": r.id, "text": r.text, "payload": r.payload, "vh": vector_hash(packed(r.vector or ())).hex(), "embedding": list(r.vector or ())}
            for r in whole
        ]  # fmt: skip
        if rows:
            try:
                self._client.upsert(physical, rows)
            except self._failed as error:
                raise Refused(
                    f"{physical} does not take these records: {_said(error)}", "INDEX_RECORD"
                ) from None

    def load(self, physical: str, records: Sequence[Record]) -> None:
        """See ``SearchStore``."""
        self.upsert(physical, records)

    def delete(self, physical: str, ids: Sequence[str]) -> None:
        """See ``SearchStore``."""
        self._known(physical)
        self._exact.pop(physical, None)
        for start in range(0, len(ids), 500):
            self._client.delete(physical, ids=[_key(i) for i in ids[start : start + 500]])

    def finalise(self, physical: str, manifest: Manifest) -> None:
        """See ``SearchStore``. Flushes, and waits until no row is outside of the graph."""
        self._client.flush(physical)
        deadline = self._clock() + INDEX_WAIT
        while self._pending(physical):
            if self._clock() > deadline:
                raise LockgateError(f"{physical}: the graph is not finished after {INDEX_WAIT:.0f} s", "INDEX_STORE")  # fmt: skip
            self._sleep(0.2)

    def _pending(self, physical: str) -> int:
        return int(self._client.describe_index(physical, "embedding").get("pending_index_rows") or 0)

    # -- reading --------------------------------------------------------------------------------------

    def _rows(self, physical: str, columns: list[str]) -> Iterator[dict[str, Any]]:
        pages = self._client.query_iterator(physical, filter="", batch_size=500, output_fields=columns)
        try:
            while page := pages.next():
                yield from page
        finally:
            pages.close()

    def last_id(self, physical: str) -> str | None:
        """See ``SearchStore``. Rows come in the order of their keys, which are digests, so all ids are read."""
        self._known(physical)
        return max((row["id"] for row in self._rows(physical, ["id"])), default=None)

    def scan(self, physical: str) -> Iterator[tuple[Record, bytes]]:
        """See ``SearchStore``. By the physical name: an iterator over an alias jumps when the alias is altered."""
        self._known(physical)
        for row in self._rows(physical, ["id", "text", "payload", "vh", "embedding"]):
            vector = tuple(float(x) for x in row["embedding"])
            yield Record(row["id"], row["text"], row["payload"], vector), bytes.fromhex(row["vh"])

    def record_digests(self, physical: str, ids: Sequence[str]) -> dict[str, bytes]:
        """See ``LiveStore``. A collection is made with strong consistency: a query sees every write before it."""
        self._known(physical)
        found: dict[str, bytes] = {}
        for start in range(0, len(ids), 500):
            keys = [_key(i) for i in ids[start : start + 500]]
            for row in self._client.get(physical, ids=keys, output_fields=["id", "text", "payload", "vh"]):
                found[row["id"]] = record_digest(row["id"], row["text"], row["payload"], bytes.fromhex(row["vh"]))  # fmt: skip
        return found

    def count(self, physical: str) -> int:
        """See ``SearchStore``. The statistics of a collection count rows that were deleted, too."""
        self._known(physical)
        return int(self._client.query(physical, filter="", output_fields=["count(*)"])[0]["count(*)"])

    def content(self, physical: str) -> Content:
        """See ``SearchStore``."""
        return content_of(self.scan(physical))

    def describe(self, physical: str) -> Description:
        """See ``SearchStore``."""
        self._known(physical)
        lengths = Lengths()
        ids: set[str] = set()
        wrong = 0
        for record, kept in self.scan(physical):
            lengths.add(record.vector or ())
            ids.add(record.id)
            wrong += kept != vector_hash(packed(record.vector or ()))
        graph = self._client.describe_index(physical, "embedding") or {}
        fields = {f["name"]: f for f in self._client.describe_collection(physical)["fields"]}
        metric = {v: k for k, v in _METRICS.items()}.get(str(graph.get("metric_type")), "")
        return Description(
            lengths.count, int(fields["embedding"]["params"]["dim"]), metric, graph.get("state", "Finished") == "Finished", bool(graph),
            self._pending(physical) if graph else 0, lengths.zero, lengths.broken,
            lengths.low, lengths.high, wrong, lengths.count - len(ids),
            ann={"type": str(graph.get("index_type", "")).lower()}, engine="Milvus Lite" if self.capabilities.swap == "atomic" else "Milvus",
        )  # fmt: skip

    def query(
        self, target: str, question: "str | Sequence[float]", k: int, *, search: int = 0, exact: bool = False
    ) -> Answered:
        """See ``SearchStore``. The alias is resolved once, here; Milvus itself may do so several times in one request."""
        assert not isinstance(question, str)
        physical = self.resolve(target) or target
        manifest = self._known(physical)
        refuse_question(question, manifest.dimension, physical)
        kind = manifest.ann.get("type", "flat")
        if exact and kind != "flat":
            if physical not in self._exact:
                self._exact[physical] = Nearest(manifest.metric, self.scan(physical))
            return Answered(physical, tuple(self._exact[physical].best(question, k)))
        breadth = {"hnsw": {"ef": max(k, search, 40)}, "ivfflat": {"nprobe": max(1, search or 16)}}
        found = self._client.search(
            physical, data=[list(question)], limit=k, output_fields=["id"], consistency_level="Strong",
            search_params={"metric_type": _METRICS[manifest.metric], "params": breadth.get(kind, {})},
        )[0]  # fmt: skip
        hits = [
            Found(
                h["entity"]["id"],
                -(max(0.0, h["distance"]) ** 0.5) if manifest.metric == "l2" else float(h["distance"]),
            )
            for h in found
        ]
        return Answered(physical, tuple(sorted(hits, key=lambda f: (-f.score, f.id))))

    # -- alias ----------------------------------------------------------------------------------------

    def resolve(self, alias: str) -> str | None:
        """See ``SearchStore``."""
        if not _NAME.fullmatch(alias):
            return None
        if alias in self._client.list_collections():
            return None
        try:
            found: str = self._client.describe_alias(alias)["collection_name"]
        except self._failed as error:
            if getattr(error, "code", None) in (_NO_COLLECTION, 1600) or "not" in _said(error):
                return None
            raise LockgateError(f"the alias {alias} cannot be read: {_said(error)}", "INDEX_STORE") from None
        return found

    def swap(self, alias: str, expect: str | None, to: str) -> None:
        """See ``SearchStore``."""
        now = self.resolve(alias)
        if not must_move(alias, now, expect, to):
            return
        self._known(to)
        try:
            if now is None:
                self._client.create_alias(to, alias)
            else:
                self._client.alter_alias(to, alias)
        except self._failed as error:
            raise LockgateError(
                f"the alias {alias} does not go to {to}: {_said(error)}", "INDEX_STORE"
            ) from None

    def drop(self, physical: str) -> None:
        """See ``SearchStore``. Milvus Lite would drop a collection that an alias points to, and one that an alias names."""
        names = (physical, alias_of(physical))
        refuse_drop(physical, {n: to for n in names if n and (to := self.resolve(n)) is not None})
        if physical in self._client.list_collections():
            self._client.drop_collection(physical)
        self._loaded.discard(physical)
        self._exact.pop(physical, None)

    def physical(self, name: str) -> list[str]:
        """See ``SearchStore``."""
        return sorted(c for c in self._client.list_collections() if c.startswith(f"{name}__") and self._kept(c))  # fmt: skip

    def close(self) -> None:
        """See ``SearchStore``."""
        self._exact.clear()
        self._client.close()
        if self._file:
            # Closing the client leaves the server in this process, and with it the lock on the file.
            from milvus_lite.server_manager import server_manager_instance

            server_manager_instance.release_server(self._file)


def _held(place: str, said: str) -> Busy:
    return Busy(
        f"{place} is held by another process, or is no file of Milvus Lite ({said})", state="Nothing was changed.",
        next="End the process that has it open, then try again.",
    )  # fmt: skip


def _key(id_: str) -> str:
    return hashlib.sha256(id_.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _said(error: Exception) -> str:
    return str(getattr(error, "message", "") or error)[:300]
