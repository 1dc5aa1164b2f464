"""Chroma, by the URL of its server. It has no aliases, so the alias is the *name* of the collection that serves.

A swap renames twice: the old collection gets its physical name back, then the new one gets the alias. Between the two nobody
has the name, so the adapter says ``two_step`` and a swap holds until somebody accepts that. Every collection carries its
physical name in its metadata, because its own name moves. A client's handle is bound to the collection and not to the name:
an application that keeps one goes on reading the old generation.
"""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from lockgate.errors import ConfigError, LockgateError, Refused, Unreachable
from lockgate.record.points import point
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

_SPACES = {"cosine": "cosine", "l2": "l2", "ip": "ip"}
_KEPT, _PHYSICAL = "lockgate", "lockgate_physical"
_PIECE = 300


class Chroma:
    """Collections of one server. ``key`` is sent as its token, where it asks for one."""

    capabilities = Capabilities(
        "two_step", "rounded", "it renames two collections, and between the two nobody has the alias' name"
    )

    def __init__(self, url: str, key: str = "") -> None:
        try:
            import chromadb
            from chromadb.config import Settings
        except ImportError:
            raise not_installed("the client of Chroma", "chroma") from None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"chroma needs the URL of its server, not {url!r}", "USAGE", next="--place http://HOST:8000"
            )
        try:
            self._client: Any = chromadb.HttpClient(
                host=parts.hostname, port=parts.port or (443 if parts.scheme == "https" else 8000), ssl=parts.scheme == "https",
                headers={"x-chroma-token": key} if key else None, settings=Settings(anonymized_telemetry=False),
            )  # fmt: skip
        except ValueError as error:
            raise Unreachable(f"Chroma at {url} does not answer: {error}") from None
        self._exact: dict[str, Nearest] = {}

    # -- finding --------------------------------------------------------------------------------------

    def _named(self, name: str) -> Any:
        """The collection of that name now; None where there is none. Bound to it, whatever it is called later."""
        from chromadb.errors import InvalidArgumentError, NotFoundError

        try:
            # Without a function of its own: the default one would be downloaded.
            return self._client.get_collection(name, embedding_function=None)
        except (NotFoundError, InvalidArgumentError):
            return None

    def _find(self, physical: str) -> Any:
        """The collection of a generation, under its own name or under the alias."""
        for name in (physical, alias_of(physical)):
            found = self._named(name) if name else None
            if found is not None and (found.metadata or {}).get(_PHYSICAL) == physical:
                return found
        return None

    def _known(self, physical: str) -> tuple[Any, Manifest]:
        found = self._find(physical)
        if found is None:
            raise unknown(physical)
        return found, read_manifest(found.metadata[_KEPT])

    # -- collections ----------------------------------------------------------------------------------

    def create(self, physical: str, manifest: Manifest) -> None:
        """See ``SearchStore``. What was made is looked at: ``get_or_create`` would hand out one of another metric."""
        from chromadb.errors import InvalidArgumentError

        if exists_already(physical, self.manifest(physical), manifest):
            return
        if self._named(physical) is not None:
            raise refuse_stranger(physical)
        refuse_form(manifest, "Chroma", ("hnsw",))
        space = {
            "space": _SPACES[manifest.metric], "max_neighbors": int(manifest.ann.get("m", "16")),
            "ef_construction": int(manifest.ann.get("ef_construction", "100")), "ef_search": int(manifest.ann.get("ef_search", "100")),
        }  # fmt: skip
        try:
            made = self._client.create_collection(
                physical, embedding_function=None, configuration={"hnsw": space}, metadata={_KEPT: manifest.as_json(), _PHYSICAL: physical}
            )  # fmt: skip
        except InvalidArgumentError as error:
            raise Refused(
                f"Chroma does not take {physical}: {error}", "INDEX_SPEC",
                next="An index in Chroma has a name of at least 3 characters.",
            ) from None  # fmt: skip
        if made.configuration_json["hnsw"]["space"] != _SPACES[manifest.metric]:
            raise LockgateError(f"{physical} was made with another metric than asked for", "INDEX_STORE")

    def manifest(self, physical: str) -> Manifest | None:
        """See ``SearchStore``."""
        found = self._find(physical)
        return read_manifest(found.metadata[_KEPT]) if found is not None else None

    def upsert(self, physical: str, records: Sequence[Record]) -> None:
        """See ``SearchStore``. ``add`` would keep the older record of an id, without a word.

        Under cosine the server keeps unit vectors and lengths and multiplies again, so the last bit of a component may
        differ: what comes back is compared with what was sent, and its hash kept beside that of the source.
        """
        found, manifest = self._known(physical)
        whole = last_of_each(records, manifest.dimension)
        self._exact.pop(physical, None)
        for start in range(0, len(whole), _PIECE):
            piece = whole[start : start + _PIECE]
            self._write(physical, found, piece)
            stored = found.get(ids=[r.id for r in piece], include=["embeddings"])
            by_id = dict(zip(stored["ids"], stored["embeddings"], strict=True))
            hashes = []
            for r in piece:
                back = [float(x) for x in by_id[r.id]]
                if any(abs(a - b) > 1e-5 * max(1.0, abs(b)) for a, b in zip(back, r.vector or (), strict=True)):  # fmt: skip
                    raise LockgateError(f"{physical} does not keep the vector of {r.id!r}", "INDEX_STORE")
                hashes.append({"_sh": vector_hash(packed(back)).hex()})
            found.update(ids=[r.id for r in piece], metadatas=hashes)

    @staticmethod
    def _write(physical: str, found: Any, piece: list[Record]) -> None:
        from chromadb.errors import ChromaError

        try:
            found.upsert(
                ids=[r.id for r in piece], embeddings=[list(r.vector or ()) for r in piece], documents=[r.text for r in piece],
                metadatas=[{"_payload": r.payload, "_vh": vector_hash(packed(r.vector or ())).hex()} for r in piece],
            )  # fmt: skip
        except (ChromaError, ValueError) as error:
            raise Refused(f"{physical} does not take these records: {error}", "INDEX_RECORD") from None

    def load(self, physical: str, records: Sequence[Record]) -> None:
        """See ``SearchStore``."""
        self.upsert(physical, records)

    def delete(self, physical: str, ids: Sequence[str]) -> None:
        """See ``SearchStore``."""
        found, _ = self._known(physical)
        self._exact.pop(physical, None)
        for start in range(0, len(ids), _PIECE):
            found.delete(ids=list(ids[start : start + _PIECE]))

    def finalise(self, physical: str, manifest: Manifest) -> None:
        """See ``SearchStore``. The server keeps its graph by itself; what is not in it yet is searched beside it."""

    # -- reading --------------------------------------------------------------------------------------

    def last_id(self, physical: str) -> str | None:
        """See ``SearchStore``. Ids come in the order of insertion, so all are read."""
        found, _ = self._known(physical)
        return max(found.get(include=[])["ids"], default=None)

    def _pieces(self, found: Any, of: Sequence[str] | None = None) -> Iterator[tuple[str, str, dict[str, Any], tuple[float, ...]]]:  # fmt: skip
        # By id, not by offset: a record that is deleted meanwhile would shift all that follow.
        ids = found.get(include=[])["ids"] if of is None else list(of)
        for start in range(0, len(ids), _PIECE):
            got = found.get(ids=ids[start : start + _PIECE], include=["embeddings", "documents", "metadatas"])
            for id_, vector, text, kept in zip(got["ids"], got["embeddings"], got["documents"], got["metadatas"], strict=True):  # fmt: skip
                yield id_, text or "", kept or {}, tuple(float(x) for x in vector)

    def scan(self, physical: str) -> Iterator[tuple[Record, bytes]]:
        """See ``SearchStore``. A record that somebody else wrote has no hash of ours; then that of what is stored counts."""
        found, _ = self._known(physical)
        for id_, text, kept, vector in self._pieces(found):
            yield Record(id_, text, kept.get("_payload", "{}"), vector), _source(kept, vector)

    def record_digests(self, physical: str, ids: Sequence[str]) -> dict[str, bytes]:
        """See ``LiveStore``."""
        found, _ = self._known(physical)
        return {
            id_: record_digest(id_, text, kept.get("_payload", "{}"), _source(kept, vector))
            for id_, text, kept, vector in self._pieces(found, ids)
        }

    def count(self, physical: str) -> int:
        """See ``SearchStore``."""
        return int(self._known(physical)[0].count())

    def content(self, physical: str) -> Content:
        """See ``SearchStore``."""
        return content_of(self.scan(physical))

    def describe(self, physical: str) -> Description:
        """See ``SearchStore``."""
        found, _ = self._known(physical)
        lengths = Lengths()
        wrong = dimension = 0
        for _, _, kept, vector in self._pieces(found):
            lengths.add(vector)
            dimension = len(vector)
            wrong += kept.get("_sh") != vector_hash(packed(vector)).hex()
        space = found.configuration_json["hnsw"]
        return Description(
            lengths.count, dimension or None, space["space"], True, True, 0, lengths.zero, lengths.broken,
            lengths.low, lengths.high, wrong, ann={"type": "hnsw", **{k: str(v) for k, v in space.items()}}, engine="Chroma server",
        )  # fmt: skip

    def query(
        self, target: str, question: "str | Sequence[float]", k: int, *, search: int = 0, exact: bool = False
    ) -> Answered:
        """See ``SearchStore``. The breadth of the search is the collection's; one call cannot change it."""
        assert not isinstance(question, str)
        found = self._named(target)
        physical = (found.metadata or {}).get(_PHYSICAL) if found is not None else None
        if physical is None:
            found, physical = self._known(target)[0], target
        manifest = read_manifest(found.metadata[_KEPT])
        refuse_question(question, manifest.dimension, physical)
        if exact:
            if physical not in self._exact:
                self._exact[physical] = Nearest(manifest.metric, self.scan(physical))
            return Answered(physical, tuple(self._exact[physical].best(question, k)))
        got = found.query(query_embeddings=[list(question)], n_results=k, include=["distances"])
        hits = [
            Found(i, -(max(0.0, d) ** 0.5) if manifest.metric == "l2" else 1.0 - d)
            for i, d in zip(got["ids"][0], got["distances"][0], strict=True)
        ]
        return Answered(physical, tuple(sorted(hits, key=lambda f: (-f.score, f.id))))

    # -- alias ----------------------------------------------------------------------------------------

    def resolve(self, alias: str) -> str | None:
        """See ``SearchStore``. None, too, between the two renames."""
        found = self._named(alias)
        physical: str | None = (found.metadata or {}).get(_PHYSICAL) if found is not None else None
        return physical if physical is not None and physical != alias else None

    def swap(self, alias: str, expect: str | None, to: str) -> None:
        """See ``SearchStore``. Two renames; a kill between them leaves the alias with nobody, which the next command ends."""
        now = self.resolve(alias)
        if not must_move(alias, now, expect, to):
            return
        new = self._known(to)[0]
        old = self._named(alias)
        if old is not None:
            if now is None:
                raise Refused(f"{alias} is a collection that lockgate did not make", "INDEX_ALIAS")
            old.modify(name=now)
            point("index:swap:between")
        new.modify(name=alias)

    def drop(self, physical: str) -> None:
        """See ``SearchStore``."""
        alias = alias_of(physical)
        serving = {name: to for name in (physical, alias) if name and (to := self.resolve(name)) is not None}
        refuse_drop(physical, serving)
        if self._named(physical) is not None:
            self._client.delete_collection(physical)
        self._exact.pop(physical, None)

    def physical(self, name: str) -> list[str]:
        """See ``SearchStore``."""
        found: list[str] = []
        while True:
            page = self._client.list_collections(limit=100, offset=len(found))
            found += [(c.metadata or {}).get(_PHYSICAL, "") for c in page]
            if len(page) < 100:
                return sorted(p for p in found if p.startswith(f"{name}__"))

    def close(self) -> None:
        """See ``SearchStore``. The client keeps its connections open when it is closed, and a move has one client a worker."""
        self._exact.clear()
        self._client.close()
        for one in (self._client, getattr(self._client, "_admin_client", None)):
            session = getattr(getattr(one, "_server", None), "_session", None)
            if session is not None:
                session.close()


def _source(kept: dict[str, Any], vector: Sequence[float]) -> bytes:
    return bytes.fromhex(kept["_vh"]) if "_vh" in kept else vector_hash(packed(vector))
