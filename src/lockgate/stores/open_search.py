"""The name of a kind of store, and its place → the store."""

from pathlib import Path

from lockgate.errors import ConfigError
from lockgate.postgres.link import Link
from lockgate.stores.searching import SearchStore

KINDS = ("pgvector", "fts", "fts5", "pointer", "qdrant")
IN_DATABASE = ("pgvector", "fts")
"""Kinds that live in the database of our own record, so that a swap and its record are one transaction."""


def open_search(kind: str, place: str, link: Link) -> SearchStore:
    """Open a store. ``place`` is a file, a folder or a URL; "" for those in the database. Raises ``ConfigError``."""
    if kind in IN_DATABASE:
        if place:
            raise ConfigError(f"{kind} lives in the database itself; it has no --place", "USAGE")
        if kind == "pgvector":
            from lockgate.stores.pgvector import PgVector

            return PgVector(link)
        from lockgate.stores.fts import PgText

        return PgText(link)
    if not place:
        raise ConfigError(f"{kind} needs --place: a {'file' if kind == 'fts5' else 'folder'}", "USAGE")
    if kind == "fts5":
        from lockgate.stores.fts5 import Fts5

        return Fts5(Path(place))
    if kind == "pointer":
        from lockgate.stores.pointer import PointerFiles

        return PointerFiles(Path(place))
    if kind == "qdrant":
        from lockgate.stores.qdrant import Qdrant

        return Qdrant(place)
    raise ConfigError(f"there is no store {kind!r}", "USAGE", next="One of: " + ", ".join(KINDS))
