"""OpenSearch and Elasticsearch through their HTTP API, texts and vectors. **Not run against a server**: no package of the
registries that we reach brings one. It is tested against a double on loopback that keeps the documented rules.

The alias is swapped by one ``_aliases`` request whose ``remove`` must find the old index, so an alias that somebody else moved
makes it fail. Requests that are under way at that moment may still fail; a request that got no answer may still have been
carried out, so the alias is read again before anything else is said.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from lockgate.errors import Busy, ConfigError, LockgateError, Refused
from lockgate.stores.canonical import digest_of
from lockgate.stores.content import Content, Record, content_of, record_digest, vector_hash
from lockgate.stores.dialects import DIALECTS, FIELD
from lockgate.stores.fts import PROBE
from lockgate.stores.manifest import Manifest, read_manifest
from lockgate.stores.refusals import (
    exists_already,
    last_of_each,
    must_move,
    refuse_drop,
    refuse_form,
    refuse_question,
    refuse_stranger,
    unknown,
)
from lockgate.stores.rest import Reply, Rest
from lockgate.stores.searching import Answered, Capabilities, Description, Found
from lockgate.stores.vectors import Lengths, packed, single

_NOTE = (
    "one request of the cluster's state; requests under way at that moment may fail; not run against a server"
)
_ID_BYTES = 512
_PAGE = 500
_TRIES = 8


class OpenSearch:
    """Indices and aliases of one cluster. ``kind`` is opensearch or elasticsearch."""

    capabilities = Capabilities("atomic", "exact", _NOTE)

    def __init__(self, url: str, kind: str, key: str = "", rest: Callable[..., Rest] = Rest) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"{kind} needs the URL of a server, not {url!r}", "USAGE", next="--place https://HOST:9200"
            )
        self._rest = rest(url, key)
        self._dialect = DIALECTS[kind]
        self._version: tuple[int, int] | None = None

    def version(self) -> tuple[int, int]:
        """Major and minor version of the server."""
        if self._version is None:
            said = self._rest.need("GET", "/")["version"]["number"].split(".")
            self._version = (int(said[0]), int(said[1]))
        return self._version

    # -- indices --------------------------------------------------------------------------------------

    def create(self, physical: str, manifest: Manifest) -> None:
        """See ``SearchStore``. The mapping is strict: a field that nobody declared is refused and not guessed."""
        if exists_already(physical, self.manifest(physical), manifest):
            return
        refuse_form(manifest, self._dialect.name, ("flat", "hnsw"))
        fields: dict[str, Any] = {
            "id": {"type": "keyword"}, "payload": {"type": "keyword", "index": False, "doc_values": False},
            "text": {"type": "text", "index": False} if manifest.kind == "vector" else {"type": "text", "analyzer": manifest.analyzer},
        }  # fmt: skip
        if manifest.kind == "vector":
            fields |= {FIELD: self._dialect.vector(manifest), "vh": {"type": "keyword", "index": False, "doc_values": False}}  # fmt: skip
        body = {
            "settings": {
                "index": {"number_of_shards": 1, **self._dialect.settings(manifest, self.version())}
            },
            "mappings": {
                "dynamic": "strict",
                "_meta": {"lockgate": manifest.as_json()},
                "properties": fields,
            },
        }
        reply = self._rest.call("PUT", f"/{quote(physical)}", body, repeatable=False)
        if reply.kind == "resource_already_exists_exception" or reply.status == 0:
            # An answer that was lost, or somebody quicker: what is there decides.
            if not exists_already(physical, self.manifest(physical), manifest):
                raise refuse_stranger(physical) if reply.status else self._failed("make", physical, reply)
        elif reply.status >= 400:
            raise Refused(
                f"{self._dialect.name} does not take this specification: {reply.reason}", "INDEX_SPEC"
            )

    def _mapping(self, physical: str) -> dict[str, Any] | None:
        """The mapping of an index of this very name; an alias of that name is none."""
        reply = self._rest.call("GET", f"/{quote(physical)}/_mapping")
        if reply.status == 404:
            return None
        if reply.status >= 400:
            raise self._failed("read", physical, reply)
        found: dict[str, Any] | None = reply.body.get(physical, {}).get("mappings")
        return found

    def manifest(self, physical: str) -> Manifest | None:
        """See ``SearchStore``."""
        kept = ((self._mapping(physical) or {}).get("_meta") or {}).get("lockgate")
        return read_manifest(kept) if kept else None

    def _known(self, physical: str) -> Manifest:
        manifest = self.manifest(physical)
        if manifest is None:
            raise unknown(physical)
        return manifest

    def _failed(self, doing: str, name: str, reply: Reply) -> LockgateError:
        return LockgateError(f"{self._dialect.name} does not {doing} {name}: {reply.reason}", "INDEX_STORE")

    # -- writing --------------------------------------------------------------------------------------

    def upsert(self, physical: str, records: Sequence[Record]) -> None:
        """See ``SearchStore``."""
        self._write(physical, records, "index")

    def load(self, physical: str, records: Sequence[Record]) -> None:
        """See ``SearchStore``. What an earlier try of this batch wrote answers 409, and is then written over."""
        for conflict in self._write(physical, records, "create"):
            self.upsert(physical, [conflict])

    def _write(self, physical: str, records: Sequence[Record], action: str) -> list[Record]:
        """Write, and return what was there already (409, under ``create`` only)."""
        manifest = self._known(physical)
        whole = {r.id: r for r in last_of_each(records, manifest.dimension)}
        for id_ in whole:
            if len(id_.encode()) > _ID_BYTES:
                raise Refused(
                    f"record {id_[:60]!r}: an id of {self._dialect.name} has at most {_ID_BYTES} bytes",
                    "INDEX_RECORD",
                )
        lines = {i: [{action: {"_id": i}}, _document(r, manifest)] for i, r in whole.items()}
        return [whole[i] for i in self._bulk(physical, lines)]

    def delete(self, physical: str, ids: Sequence[str]) -> None:
        """See ``SearchStore``."""
        self._known(physical)
        self._bulk(physical, {i: [{"delete": {"_id": i}}] for i in ids})

    def _bulk(self, physical: str, lines: dict[str, list[Any]]) -> list[str]:
        """Send operations, by id; those that the server was too busy for again. Returns the ids that answered 409.

        A bulk request answers 200 though single operations failed.
        """
        conflicts: list[str] = []
        pause = 0.5
        for _ in range(_TRIES):
            if not lines:
                return conflicts
            raw = "".join(json.dumps(row) + "\n" for rows in lines.values() for row in rows).encode()
            reply = self._rest.call("POST", f"/{quote(physical)}/_bulk?require_alias=false", raw=raw)
            if reply.status >= 400:
                raise self._failed("write to", physical, reply)
            again: dict[str, list[Any]] = {}
            for item in reply.body["items"]:
                ((_, done),) = item.items()
                status, id_ = done["status"], done["_id"]
                if status in (429, 503):
                    again[id_] = lines[id_]
                elif status == 409:
                    conflicts.append(id_)
                elif status >= 400 and not (status == 404 and "error" not in done):
                    said = Reply(status, {"error": done.get("error", {})})
                    raise Refused(
                        f"record {id_!r} does not go into {physical}: {said.reason}", "INDEX_RECORD"
                    )
            lines = again
            if lines:
                self._rest.sleep(pause)
                pause = min(pause * 2, 10.0)
        raise LockgateError(f"{physical}: the server stayed too busy for {len(lines)} records", "INDEX_STORE")

    def finalise(self, physical: str, manifest: Manifest) -> None:
        """See ``SearchStore``. Graphs are built with their segments; a refresh makes all of them visible."""
        self._refresh(physical)

    def _refresh(self, physical: str) -> None:
        self._whole(self._rest.need("POST", f"/{quote(physical)}/_refresh"), physical)

    def _whole(self, body: Any, physical: str) -> Any:
        """The body, if every shard answered. A part of an answer looks like an answer."""
        failed = (body.get("_shards") or {}).get("failed", 0)
        if failed or body.get("timed_out"):
            raise LockgateError(f"{physical}: {failed} shards did not answer, or the search was cut short", "INDEX_STORE")  # fmt: skip
        return body

    # -- reading --------------------------------------------------------------------------------------

    def last_id(self, physical: str) -> str | None:
        """See ``SearchStore``. A keyword sorts by its UTF-8 bytes, which is the order of code points."""
        self._known(physical)
        self._refresh(physical)
        hits = self._search(physical, {"size": 1, "sort": [{"id": "desc"}], "_source": ["id"]})
        return hits[0]["_source"]["id"] if hits else None

    def _search(self, physical: str, body: dict[str, Any]) -> list[Any]:
        answer = self._rest.need("POST", f"/{quote(physical)}/_search?allow_partial_search_results=false", body)  # fmt: skip
        found: list[Any] = self._whole(answer, physical)["hits"]["hits"]
        return found

    def scan(self, physical: str) -> Iterator[tuple[Record, bytes]]:
        """See ``SearchStore``. Over a point in time, so that what is written meanwhile neither shifts nor doubles a page."""
        self._known(physical)
        self._refresh(physical)
        for hit in self._pages(physical):
            kept = hit["_source"]
            vector = single(kept[FIELD]) if FIELD in kept else None
            yield (
                Record(kept["id"], kept["text"], kept["payload"], vector),
                bytes.fromhex(kept.get("vh", "")),
            )

    def record_digests(self, physical: str, ids: Sequence[str]) -> dict[str, bytes]:
        """See ``LiveStore``. A reading by id sees a write at once; a search sees it after the next refresh, a second later by default."""
        self._known(physical)
        found: dict[str, bytes] = {}
        for start in range(0, len(ids), _PAGE):
            body = {"ids": list(ids[start : start + _PAGE])}
            for row in self._rest.need("POST", f"/{quote(physical)}/_mget", body)["docs"]:
                if row.get("error"):
                    raise LockgateError(f"{physical}: {row['_id']!r} cannot be read: {row['error']}", "INDEX_STORE")  # fmt: skip
                if row.get("found"):
                    kept = row["_source"]
                    source = bytes.fromhex(kept.get("vh", ""))
                    found[kept["id"]] = record_digest(kept["id"], kept["text"], kept["payload"], source)
        return found

    def _pages(self, physical: str) -> Iterator[Any]:
        way = self._dialect.open(quote(physical))
        held = self._rest.need("POST", way.path)[way.answer]
        after: list[Any] | None = None
        try:
            while True:
                body: dict[str, Any] = {
                    "size": _PAGE, "sort": [{"id": "asc"}], "pit": {"id": held, "keep_alive": "2m"}, "track_total_hits": False,
                }  # fmt: skip
                if after is not None:
                    body["search_after"] = after
                answer = self._whole(
                    self._rest.need("POST", "/_search?allow_partial_search_results=false", body), physical
                )
                hits = answer["hits"]["hits"]
                held = answer.get("pit_id", held)
                yield from hits
                if len(hits) < _PAGE:
                    return
                after = hits[-1]["sort"]
        finally:
            way = self._dialect.open(quote(physical), held)
            self._rest.call("DELETE", way.close, way.closing)

    def count(self, physical: str) -> int:
        """See ``SearchStore``."""
        self._known(physical)
        self._refresh(physical)
        return int(self._whole(self._rest.need("GET", f"/{quote(physical)}/_count"), physical)["count"])

    def content(self, physical: str) -> Content:
        """See ``SearchStore``."""
        return content_of(self.scan(physical))

    def describe(self, physical: str) -> Description:
        """See ``SearchStore``. Dimension, metric and analyzer are read from the mapping, not from the manifest."""
        mapping = self._mapping(physical)
        if mapping is None or "lockgate" not in (mapping.get("_meta") or {}):
            raise unknown(physical)
        engine = f"{self._dialect.name} {'.'.join(map(str, self.version()))}, not run against a server"
        fields = mapping["properties"]
        lengths, wrong = Lengths(), 0
        for record, source in self.scan(physical):
            if record.vector is not None:
                wrong += source != vector_hash(packed(record.vector))
            lengths.add(record.vector or ())
        if FIELD not in fields:
            analyzer = fields["text"].get("analyzer", "standard")
            return Description(lengths.count, analyzer=analyzer, analyzer_fingerprint=self.fingerprint(analyzer), engine=engine)  # fmt: skip
        dimension, metric, ann = self._dialect.read(fields[FIELD])
        return Description(
            lengths.count, dimension, metric, True, ann["type"] != "flat", 0, lengths.zero, lengths.broken, lengths.low, lengths.high, wrong,
            ann=ann, engine=engine,
        )  # fmt: skip

    def fingerprint(self, analyzer: str) -> str:
        """The digest of the tokens that the analyzer makes of ``PROBE``. Raises ``Refused`` for an unknown one."""
        reply = self._rest.call("POST", "/_analyze", {"analyzer": analyzer, "text": PROBE})
        if reply.status >= 400:
            raise Refused(f"{self._dialect.name} has no analyzer {analyzer!r}: {reply.reason}", "INDEX_SPEC")
        return digest_of("lockgate:analyzer:1", sorted({t["token"] for t in reply.body["tokens"]}))

    def query(
        self, target: str, question: "str | Sequence[float]", k: int, *, search: int = 0, exact: bool = False
    ) -> Answered:
        """See ``SearchStore``. The alias is resolved once; the search names the index."""
        physical = self.resolve(target) or target
        manifest = self._known(physical)
        body: dict[str, Any] = {"size": k, "_source": ["id"]}
        if isinstance(question, str):
            asked: dict[str, Any] = {"query": {"match": {"text": {"query": question, "operator": "or"}}}}
        else:
            refuse_question(question, manifest.dimension, physical)
            exact = exact or manifest.ann.get("type", "flat") == "flat"
            asked = {"query": self._dialect.exact(question, manifest.metric)} if exact else self._dialect.nearest(question, k, search)  # fmt: skip
        hits = [
            Found(
                h["_source"]["id"],
                h["_score"]
                if isinstance(question, str)
                else self._dialect.score(manifest.metric, h["_score"], exact=exact),
            )
            for h in self._search(physical, body | asked)
        ]
        return Answered(physical, tuple(sorted(hits, key=lambda f: (-f.score, f.id))))

    # -- alias ----------------------------------------------------------------------------------------

    def resolve(self, alias: str) -> str | None:
        """See ``SearchStore``. Raises ``LockgateError`` for an alias of several indices: nobody knows which one answers."""
        reply = self._rest.call("GET", f"/_alias/{quote(alias)}")
        if reply.status == 404:
            return None
        if reply.status >= 400:
            raise self._failed("read the alias", alias, reply)
        found = sorted(reply.body)
        if len(found) > 1:
            raise LockgateError(f"the alias {alias} points to {' and '.join(found)}", "INDEX_STORE")
        return found[0] if found else None

    def swap(self, alias: str, expect: str | None, to: str) -> None:
        """See ``SearchStore``."""
        now = self.resolve(alias)
        if not must_move(alias, now, expect, to):
            return
        self._known(to)
        actions: list[Any] = [{"add": {"index": to, "alias": alias}}]
        if now is not None:
            actions.insert(0, {"remove": {"index": now, "alias": alias, "must_exist": True}})
        reply = self._rest.call("POST", "/_aliases", {"actions": actions}, repeatable=False)
        if 200 <= reply.status < 300 and reply.body.get("acknowledged"):
            return
        # Refused, not answered, or not acknowledged by every node: what the cluster says now is what counts.
        after = self.resolve(alias)
        if after == to:
            return
        if reply.kind == "aliases_not_found_exception":
            raise Busy(
                f"the alias {alias} points to {after or 'nothing'}, not to {expect or 'nothing'}: somebody else swapped it",
                "INDEX_MOVED", details={"expected": expect, "found": after},
            )  # fmt: skip
        if reply.kind == "invalid_alias_name_exception":
            raise Refused(f"there is an index of the name {alias}, so no alias can have it", "INDEX_ALIAS")
        raise self._failed(f"move the alias to {to}:", alias, reply)

    def drop(self, physical: str) -> None:
        """See ``SearchStore``. The server would drop a live index, and its alias with it."""
        reply = self._rest.call("GET", "/_alias")
        if reply.status >= 400:
            raise self._failed("list the aliases of", physical, reply)
        refuse_drop(physical, {a: index for index, row in reply.body.items() for a in row.get("aliases", {})})
        done = self._rest.call("DELETE", f"/{quote(physical)}")
        if done.status >= 400 and done.status != 404:
            raise self._failed("drop", physical, done)

    def physical(self, name: str) -> list[str]:
        """See ``SearchStore``."""
        reply = self._rest.call("GET", f"/{quote(name)}__*/_mapping")
        found = reply.body if reply.status < 400 and isinstance(reply.body, dict) else {}
        return sorted(i for i, row in found.items() if "lockgate" in (row["mappings"].get("_meta") or {}))

    def close(self) -> None:
        """See ``SearchStore``."""


def _document(record: Record, manifest: Manifest) -> dict[str, Any]:
    body: dict[str, Any] = {"id": record.id, "text": record.text, "payload": record.payload}
    if manifest.kind == "vector":
        body |= {FIELD: list(record.vector or ()), "vh": vector_hash(packed(record.vector or ())).hex()}
    return body
