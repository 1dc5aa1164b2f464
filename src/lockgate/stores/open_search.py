"""The name of a kind of store, and its place → the store."""

from pathlib import Path
from urllib.parse import urlsplit

from lockgate.errors import ConfigError
from lockgate.postgres.link import Link
from lockgate.stores.searching import SearchStore

PLACES = {
    "pgvector": "", "fts": "", "fts5": "a file", "pointer": "a folder", "qdrant": "a folder, or the URL of a server",
    "lancedb": "a folder", "chroma": "the URL of a server", "milvus": "a file that ends in .db, or the URL of a server",
    "opensearch": "the URL of a server", "elasticsearch": "the URL of a server",
}  # fmt: skip
"""Every kind, and what its place is; "" where it lives in the database of our own record."""

KINDS = tuple(PLACES)
IN_DATABASE = tuple(kind for kind, place in PLACES.items() if not place)
"""Kinds whose swap and its record are one transaction."""

LIVE = tuple(kind for kind in KINDS if kind != "pointer")
"""Kinds that are fed record by record by a move; the others are built offline."""

NOT_A_SERVER = "not run against a server"
_DOUBLES = {"opensearch", "elasticsearch"}
_LOCAL_ONLY = {"qdrant", "milvus"}


def unproven(kind: str, place: str) -> str:
    """``not run against a server``, where no test of ours ran this adapter against the real thing; "" elsewhere.

    OpenSearch and Elasticsearch were tested against a double that follows their documentation, the clients of Qdrant and
    Milvus in their local modes only.
    """
    if kind in _DOUBLES or (kind in _LOCAL_ONLY and "://" in place):
        return NOT_A_SERVER
    return ""


def open_search(kind: str, place: str, link: Link, key: str = "") -> SearchStore:
    """Open a store. ``place`` is a file, a folder or a URL; "" for those in the database. ``key`` opens a server that asks for one.

    Raises ``ConfigError``.
    """
    if kind not in PLACES:
        raise ConfigError(f"there is no store {kind!r}", "USAGE", next="One of: " + ", ".join(KINDS))
    if kind in IN_DATABASE:
        if place:
            raise ConfigError(f"{kind} lives in the database itself; it has no --place", "USAGE")
        if kind == "pgvector":
            from lockgate.stores.pgvector import PgVector

            return PgVector(link)
        from lockgate.stores.fts import PgText

        return PgText(link)
    if not place:
        raise ConfigError(f"{kind} needs --place: {PLACES[kind]}", "USAGE")
    if urlsplit(place).username or urlsplit(place).password:
        raise ConfigError(
            f"{kind}: a place is recorded, so it holds no user and no password", "USAGE", next="Put them into LOCKGATE_STORE_KEY."
        )  # fmt: skip
    return _outside(kind, place, key)


def one_owner(kind: str, place: str) -> bool:
    """Whether the place is written by one session at a time: it belongs to one process, or its writers would have to repeat each other's work."""
    return kind in ("qdrant", "milvus", "lancedb") and "://" not in place


def _outside(kind: str, place: str, key: str) -> SearchStore:
    if kind == "fts5":
        from lockgate.stores.fts5 import Fts5

        return Fts5(Path(place))
    if kind == "pointer":
        from lockgate.stores.pointer import PointerFiles

        return PointerFiles(Path(place))
    if kind == "qdrant":
        from lockgate.stores.qdrant import Qdrant

        return Qdrant(place, key)
    if kind == "lancedb":
        from lockgate.stores.lance import Lance

        return Lance(place)
    if kind == "chroma":
        from lockgate.stores.chroma import Chroma

        return Chroma(place, key)
    if kind == "milvus":
        from lockgate.stores.milvus import Milvus

        return Milvus(place, key)
    from lockgate.stores.opensearch import OpenSearch

    return OpenSearch(place, kind, key)
