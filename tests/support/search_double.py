"""A double of OpenSearch and Elasticsearch on loopback: the documented rules that the adapter relies on, and no more.

It is no server: ranking, shards, segments and the cluster are not there. Each rule says what the documentation says; a test
keeps the list and the places that apply it equal.
"""

import base64
import contextlib
import json
import math
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

RULES = {
    "create-exists": "Create index: a name that is taken answers 400 resource_already_exists_exception.",
    "create-limits": "Vector fields: a mapping that the field type refuses answers 400 mapper_parsing_exception.",
    "strict": "Mapping, dynamic: under strict an undeclared field is refused with strict_dynamic_mapping_exception.",
    "bulk-200": "Bulk: the request answers 200 with errors: true though single operations failed.",
    "bulk-create": "Bulk: create on an id that is there answers 409 version_conflict_engine_exception for that item.",
    "bulk-delete": "Bulk: delete of an id that is not there answers 404 with result not_found and no error.",
    "bulk-busy": "Bulk: an item that the write queue rejects answers 429 es_rejected_execution_exception.",
    "busy": "A request that is throttled answers 429, with Retry-After where the node knows.",
    "dimension": "Vector fields: a vector of another dimension is refused for that document.",
    "zero": "Vector fields: under cosine a vector of length 0 is refused for that document.",
    "refresh": "Near real-time search: a write is visible to searches after a refresh.",
    "pit": "Point in time: searches over it see the index as it was when it was opened.",
    "pit-gone": "Point in time: one that was closed answers 404 search_context_missing_exception.",
    "search-after": "Paginate: hits carry their sort values, and search_after goes on behind them.",
    "partial": "Search: a shard that fails is counted in _shards.failed, and the answer holds the others' hits.",
    "score-cosine": "k-NN: a cosine x is scored (1 + x) / 2 by the graph and 1 + x by the script.",
    "score-l2": "k-NN: a distance d is scored 1 / (1 + d * d).",
    "score-ip": "k-NN: an inner product x is scored x + 1, below 0 as 1 / (1 - x).",
    "alias-atomic": "Aliases: all actions of one request are applied in one update of the cluster's state, or none.",
    "alias-must-exist": "Aliases: remove with must_exist of an alias that is not there answers 404 aliases_not_found_exception.",
    "alias-is-index": "Aliases: an alias named like an index answers 400 invalid_alias_name_exception.",
    "alias-unknown-index": "Aliases: add for an index that is not there answers 404 index_not_found_exception.",
    "alias-timeout": "Aliases: when the answer times out the update still applies, and acknowledged is false.",
    "mget": "Multi get: a reading by id sees what no refresh has made visible yet; one that is not there answers found false.",
    "alias-missing": "Get alias: one that is not there answers 404.",
    "delete-alias": "Delete index: the name of an alias is refused with 400 illegal_argument_exception.",
    "delete-live": "Delete index: an index with aliases is deleted, and its aliases with it.",
    "analyze": "Analyze: the tokens of a named analyzer; an unknown one answers 400 illegal_argument_exception.",
    "auth": "Security: a request without the right Authorization answers 401 security_exception.",
}  # fmt: skip
STOP = {"the", "were", "at", "a", "and", "of"}


def tokens(analyzer: str, text: str) -> list[str] | None:
    """The tokens of an analyzer; None for an unknown one."""
    if analyzer == "whitespace":
        return text.split()
    words = [w.lower() for w in re.findall(r"\w+", text)]
    if analyzer == "standard":
        return words
    if analyzer == "english":
        return [re.sub(r"(ing|es|s)$", "", w) for w in words if w not in STOP]
    return None


class Refusal(Exception):
    """An answer with an error."""

    def __init__(self, status: int, kind: str, reason: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status, self.headers = status, headers or {}
        self.body = {"error": {"type": kind, "reason": reason}, "status": status}


class Index:
    """One index: its mapping, what was written, and what a search sees."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.settings = body.get("settings", {})
        self.mappings = body.get("mappings", {})
        self.written: dict[str, dict[str, Any]] = {}
        self.visible: dict[str, dict[str, Any]] = {}


class Double:
    """The cluster. ``faults`` are answered once each, in order, by the first request that fits."""

    def __init__(self, kind: str, version: str, key: str = "") -> None:
        self.kind, self.version, self.key = kind, version, key
        self.indices: dict[str, Index] = {}
        self.aliases: dict[str, set[str]] = {}
        self.points: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {}
        self.faults: list[tuple[str, str, str]] = []
        """(method, part of the path, what happens): busy, item-busy, lost, unacknowledged, shard."""
        self.lock = threading.Lock()
        self.asked: list[str] = []
        self._count = 0

    def fault(self, method: str, path: str, *what: str) -> bool:
        """Whether the next fault is one of ``what`` and meant for this request; then it is spent."""
        for n, (wanted, part, name) in enumerate(self.faults):
            if wanted == method and part in path and name in what:
                del self.faults[n]
                return True
        return False

    def rule(self, name: str) -> None:
        assert name in RULES, name

    # -- requests -------------------------------------------------------------------------------------

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> dict[str, Any]:
        if self.fault(method, path, "busy"):
            self.rule("busy")
            raise Refusal(429, "circuit_breaking_exception", "too many requests", {"Retry-After": "1"})
        parts = [unquote(p) for p in path.strip("/").split("/") if p]
        told = json.loads(body) if body and not (parts and parts[-1] == "_bulk") else {}
        if not parts:
            return {"version": {"number": self.version, "distribution": self.kind}}
        if parts[0] == "_analyze":
            return self.analyze(told)
        if parts[0] == "_aliases":
            return self.alias_actions(told["actions"], path)
        if parts[0] == "_alias":
            return self.alias(parts[1] if len(parts) > 1 else "")
        if parts == ["_search"]:
            return self.search(None, told, path)
        if parts in (["_pit"], ["_search", "point_in_time"]) and method == "DELETE":
            for id_ in told["pit_id"] if "pit_id" in told else [told["id"]]:
                self.points.pop(id_, None)
            return {"succeeded": True}
        return self.of_index(method, path, parts, told, body)

    def of_index(self, method: str, path: str, parts: list[str], told: Any, body: bytes) -> dict[str, Any]:
        name, rest = parts[0], parts[1:]
        if method == "PUT" and not rest:
            return self.create(name, told)
        if method == "DELETE" and not rest:
            return self.delete(name)
        if rest == ["_mapping"]:
            return {i: {"mappings": self.indices[i].mappings} for i in self.behind(name)}
        (one,) = self.behind(name)
        index = self.indices[one]
        if rest == ["_bulk"]:
            return self.bulk(one, index, body, path)
        if rest == ["_mget"]:
            self.rule("mget")
            return {"docs": [self.got(index, id_) for id_ in told["ids"]]}
        if rest == ["_refresh"]:
            index.visible = dict(index.written)
            return {"_shards": {"failed": 0}}
        if rest in (["_pit"], ["_search", "point_in_time"]):
            self._count += 1
            id_ = f"pit-{self._count}"
            self.points[id_] = (one, dict(index.visible))
            return {"id": id_, "pit_id": id_}
        if rest == ["_count"]:
            return {"count": len(index.visible), "_shards": {"failed": 0}}
        if rest == ["_search"]:
            return self.search(one, told, path)
        raise Refusal(405, "method_not_allowed", f"{method} {path}")

    def behind(self, name: str) -> list[str]:
        if name.endswith("*"):
            return sorted(i for i in self.indices if i.startswith(name[:-1]))
        found = sorted(self.aliases.get(name, {name} & self.indices.keys()))
        if not found:
            raise Refusal(404, "index_not_found_exception", f"no such index [{name}]")
        return found

    # -- indices --------------------------------------------------------------------------------------

    def create(self, name: str, told: dict[str, Any]) -> dict[str, Any]:
        if name in self.indices:
            self.rule("create-exists")
            raise Refusal(400, "resource_already_exists_exception", f"index [{name}] already exists")
        field = told["mappings"]["properties"].get("embedding", {})
        limit = {"opensearch": ("dimension", 16_000), "elasticsearch": ("dims", 4096)}[self.kind]
        if field and field[limit[0]] > limit[1]:
            self.rule("create-limits")
            raise Refusal(400, "mapper_parsing_exception", f"the dimension must be at most {limit[1]}")
        analyzer = told["mappings"]["properties"]["text"].get("analyzer", "standard")
        if tokens(analyzer, "") is None:
            raise Refusal(400, "mapper_parsing_exception", f"analyzer [{analyzer}] has not been configured")
        self.indices[name] = Index(told)
        return {"acknowledged": True, "index": name}

    def delete(self, name: str) -> dict[str, Any]:
        if name in self.aliases:
            self.rule("delete-alias")
            raise Refusal(400, "illegal_argument_exception", f"[{name}] matches an alias")
        self.behind(name)
        del self.indices[name]
        for alias, behind in list(self.aliases.items()):
            if name in behind:
                self.rule("delete-live")
                behind.discard(name)
                if not behind:
                    del self.aliases[alias]
        return {"acknowledged": True}

    def bulk(self, name: str, index: Index, body: bytes, path: str) -> dict[str, Any]:
        lines = [json.loads(line) for line in body.splitlines()]
        items: list[Any] = []
        while lines:
            ((action, how),) = lines.pop(0).items()
            source = lines.pop(0) if action != "delete" else None
            try:
                items.append({action: self.operate(index, action, how["_id"], source, path)})
            except Refusal as refusal:
                self.rule("bulk-200")
                items.append(
                    {action: {"_id": how["_id"], "status": refusal.status, "error": refusal.body["error"]}}
                )
        return {"errors": any("error" in next(iter(i.values())) for i in items), "items": items}

    def operate(self, index: Index, action: str, id_: str, source: Any, path: str) -> dict[str, Any]:
        if self.fault("POST", path, "item-busy"):
            self.rule("bulk-busy")
            raise Refusal(429, "es_rejected_execution_exception", "rejected execution")
        if action == "delete":
            if index.written.pop(id_, None) is None:
                self.rule("bulk-delete")
                return {"_id": id_, "status": 404, "result": "not_found"}
            return {"_id": id_, "status": 200, "result": "deleted"}
        if action == "create" and id_ in index.written:
            self.rule("bulk-create")
            raise Refusal(409, "version_conflict_engine_exception", "document already exists")
        self.fit(index, source)
        index.written[id_] = source
        return {"_id": id_, "status": 201, "result": "created"}

    def fit(self, index: Index, source: dict[str, Any]) -> None:
        declared = index.mappings["properties"]
        if index.mappings.get("dynamic") == "strict" and (more := source.keys() - declared.keys()):
            self.rule("strict")
            raise Refusal(400, "strict_dynamic_mapping_exception", f"introduction of {sorted(more)}")
        if "embedding" in declared and "embedding" in source:
            field = declared["embedding"]
            wanted = field.get("dims") or field.get("dimension")
            if len(source["embedding"]) != wanted:
                self.rule("dimension")
                raise Refusal(400, "mapper_parsing_exception", f"dimension {len(source['embedding'])}, not {wanted}")  # fmt: skip
            if _metric(field) == "cosine" and not any(source["embedding"]):
                self.rule("zero")
                raise Refusal(400, "mapper_parsing_exception", "zero vector under cosine")

    @staticmethod
    def got(index: Index, id_: str) -> dict[str, Any]:
        there = index.written.get(id_)
        return (
            {"_id": id_, "found": False} if there is None else {"_id": id_, "found": True, "_source": there}
        )

    # -- searches -------------------------------------------------------------------------------------

    def analyze(self, told: dict[str, Any]) -> dict[str, Any]:
        self.rule("analyze")
        found = tokens(told["analyzer"], told["text"])
        if found is None:
            raise Refusal(400, "illegal_argument_exception", f"failed to find global analyzer [{told['analyzer']}]")  # fmt: skip
        return {"tokens": [{"token": t} for t in found]}

    def search(self, name: str | None, told: dict[str, Any], path: str) -> dict[str, Any]:
        if "pit" in told:
            if told["pit"]["id"] not in self.points:
                self.rule("pit-gone")
                raise Refusal(404, "search_context_missing_exception", "No search context found")
            self.rule("pit")
            name, documents = self.points[told["pit"]["id"]]
        else:
            assert name is not None
            documents = self.indices[name].visible
            if documents.keys() != self.indices[name].written.keys():
                self.rule("refresh")
        field = self.indices[name].mappings["properties"].get("embedding", {}) if name in self.indices else {}
        scored = [(self.score(d, told, field, name), d) for d in documents.values()]
        hits = [{"_source": d, "_score": s} for s, d in scored if s is not None]
        if "sort" in told:
            down = next(iter(told["sort"][0].values())) == "desc"
            hits.sort(key=lambda h: h["_source"]["id"].encode(), reverse=down)
            for hit in hits:
                hit["sort"] = [hit["_source"]["id"]]
            if "search_after" in told:
                self.rule("search-after")
                hits = [h for h in hits if h["sort"][0].encode() > told["search_after"][0].encode()]
        else:
            hits.sort(key=lambda h: (-h["_score"], h["_source"]["id"]))
        failed = int(self.fault("POST", path, "shard"))
        if failed:
            self.rule("partial")
        return {"timed_out": False, "_shards": {"failed": failed}, "hits": {"hits": hits[: told.get("size", 10)]}}  # fmt: skip

    def score(self, document: Any, told: dict[str, Any], field: Any, name: str) -> float | None:
        query = told.get("query", {})
        if "match" in query:
            analyzer = self.indices[name].mappings["properties"]["text"].get("analyzer", "standard")
            asked = tokens(analyzer, query["match"]["text"]["query"]) or []
            there = tokens(analyzer, document["text"]) or []
            shared = sum(there.count(t) / len(there) for t in asked)
            return shared or None
        if "knn" in query or "knn" in told:
            plain = told.get("knn") or query["knn"]["embedding"]
            vector = plain.get("query_vector") or plain["vector"]
            return self.scaled(_metric(field), vector, document["embedding"], script=False)
        if "script_score" in query:
            script = query["script_score"]["script"]
            asked = script["params"].get("asked") or script["params"]["query_value"]
            return self.scaled(_asked_metric(script), asked, document["embedding"], script=True)
        return 0.0

    def scaled(self, metric: str, one: Any, other: Any, *, script: bool) -> float:
        product = sum(a * b for a, b in zip(one, other, strict=True))
        if metric == "l2":
            self.rule("score-l2")
            return 1 / (1 + math.dist(one, other) ** 2)
        if metric == "ip":
            self.rule("score-ip")
            return product + 1 if product >= 0 else 1 / (1 - product)
        self.rule("score-cosine")
        cosine = product / (math.hypot(*one) * math.hypot(*other))
        return 1 + cosine if script else (1 + cosine) / 2

    # -- aliases --------------------------------------------------------------------------------------

    def alias(self, name: str) -> dict[str, Any]:
        if not name:
            return {
                i: {"aliases": {a: {} for a, behind in self.aliases.items() if i in behind}}
                for i in self.indices
            }
        if name not in self.aliases:
            self.rule("alias-missing")
            raise Refusal(404, "aliases_not_found_exception", f"alias [{name}] missing")
        return {i: {"aliases": {name: {}}} for i in self.aliases[name]}

    def alias_actions(self, actions: list[Any], path: str) -> dict[str, Any]:
        after = {a: set(behind) for a, behind in self.aliases.items()}
        for action in actions:
            ((what, how),) = action.items()
            if how["index"] not in self.indices:
                self.rule("alias-unknown-index")
                raise Refusal(404, "index_not_found_exception", f"no such index [{how['index']}]")
            if what == "remove":
                if how["index"] not in after.get(how["alias"], ()):
                    self.rule("alias-must-exist")
                    raise Refusal(404, "aliases_not_found_exception", f"aliases [{how['alias']}] missing")
                after[how["alias"]].discard(how["index"])
            elif how["alias"] in self.indices:
                self.rule("alias-is-index")
                raise Refusal(400, "invalid_alias_name_exception", "an index exists with the same name as the alias")  # fmt: skip
            else:
                after.setdefault(how["alias"], set()).add(how["index"])
        self.rule("alias-atomic")
        self.aliases = {a: behind for a, behind in after.items() if behind}
        if self.fault("POST", path, "unacknowledged"):
            self.rule("alias-timeout")
            return {"acknowledged": False}
        return {"acknowledged": True}


def _metric(field: dict[str, Any]) -> str:
    said = field.get("similarity") or (field.get("method") or field).get("space_type") or ""
    return {"cosinesimil": "cosine", "l2_norm": "l2", "innerproduct": "ip", "max_inner_product": "ip"}.get(said, said)  # fmt: skip


def _asked_metric(script: dict[str, Any]) -> str:
    if "space_type" in script["params"]:
        return _metric({"space_type": script["params"]["space_type"]})
    return next(m for word, m in (("cosineSimilarity", "cosine"), ("l2norm", "l2"), ("dotProduct", "ip")) if word in script["source"])  # fmt: skip


@contextlib.contextmanager
def search_double(kind: str, version: str, key: str = "") -> Iterator[tuple[str, Double]]:
    """Its URL and itself; it ends with the block."""
    double = Double(kind, version, key)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            parts = urlsplit(self.path)
            headers: dict[str, str] = {}
            with double.lock:
                double.asked.append(f"{self.command} {parts.path}")
                lost = double.fault(self.command, parts.path, "lost")
                try:
                    if key and self.headers.get("Authorization") != _authorization(key):
                        double.rule("auth")
                        raise Refusal(401, "security_exception", "missing authentication credentials")
                    status, answer = 200, double.answer(self.command, parts.path, parse_qs(parts.query), body)
                except Refusal as refusal:
                    status, answer, headers = refusal.status, refusal.body, refusal.headers
            self.close_connection = True
            if lost:
                return
            data = json.dumps(answer).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_DELETE = do_any  # noqa: N815 - the names that the library calls

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", double
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def _authorization(key: str) -> str:
    return key if " " in key else "Basic " + base64.b64encode(key.encode()).decode()
