"""One relation as data moves see it: what its columns are, which keys it has, how large it is."""

import msgspec

from lockgate.errors import ConfigError
from lockgate.postgres.link import Link
from lockgate.postgres.queries import query
from lockgate.postgres.quoting import qualified
from lockgate.postgres.sqlstate import ServerError


class ColumnFacts(msgspec.Struct, frozen=True):
    """One column. ``base`` is the type below all domains; ``portable`` says that its binary form holds no oid of this database."""

    name: str
    type: str
    not_null: bool
    generated: bool
    identity: str
    base: str
    base_schema: str
    type_schema: str
    category: str
    class_: str = msgspec.field(name="class")
    portable: bool
    default: str | None = None
    sequence: str | None = None
    collation: str | None = None


class UniqueKey(msgspec.Struct, frozen=True):
    """A valid, immediate unique index without expressions or predicate."""

    name: str
    primary: bool
    columns: tuple[str, ...]
    not_null: bool


class Relation(msgspec.Struct, frozen=True):
    """A table, partitioned table, view, materialised view or foreign table.

    ``rows`` is the planner's estimate (-1: never analysed), ``bytes`` the size of its main storage.
    """

    oid: int
    schema: str
    name: str
    kind: str
    owner: str
    rows: int
    bytes: int
    replica_identity: str
    columns: tuple[ColumnFacts, ...]
    uniques: tuple[UniqueKey, ...]
    access_method: str | None = None
    partition_key: str | None = None

    @property
    def sql(self) -> str:
        """Its name as SQL takes it."""
        return qualified(self.schema, self.name)

    @property
    def primary_key(self) -> tuple[str, ...]:
        """The columns of its primary key, else of its smallest unique key without NULLs; empty when it has none."""
        for unique in self.uniques:
            if unique.primary or unique.not_null:
                return unique.columns
        return ()

    def proves_unique(self, key: tuple[str, ...]) -> bool:
        """True when an index guarantees that ``key`` is unique and never NULL."""
        return any(set(u.columns) <= set(key) and u.not_null for u in self.uniques) and all(
            c.not_null for c in self.columns if c.name in key
        )


class ServerFacts(msgspec.Struct, frozen=True):
    """Which server and database, and what its hash makes of a fixed vector."""

    system_identifier: str
    database_oid: str
    encoding: str
    in_recovery: bool
    probe: str
    version: int
    locale: str = ""

    def same_database(self, other: "ServerFacts") -> bool:
        """True when both are one database of one running server."""
        return (self.system_identifier, self.database_oid, self.in_recovery) == (
            other.system_identifier,
            other.database_oid,
            other.in_recovery,
        )


_COUNTED_BYTES = 64 << 20
"""A table that the server knows no estimate of is counted up to this size: well below a second, and read by the copy anyway."""


def estimated(link: Link, relation: Relation) -> Relation:
    """``relation`` with an estimate also where it was never analysed: counted when it is small, else what the planner makes of its pages.

    It stays as it is when the role may not read it.
    """
    if relation.rows >= 0 or relation.kind not in "rpm":
        return relation
    try:
        if relation.bytes <= _COUNTED_BYTES:
            rows = link.value(f"SELECT count(*) FROM {relation.sql}")  # noqa: S608 - quoted
        else:
            (told,) = link.value(f"EXPLAIN (FORMAT JSON) SELECT FROM {relation.sql}")
            rows = told["Plan"]["Plan Rows"]
    except ServerError:
        return relation
    return msgspec.structs.replace(relation, rows=int(rows))


def server_facts(link: Link) -> ServerFacts:
    """Ask the server who it is."""
    identifier, oid, encoding, recovering, probe, locale = link.rows(query("moves/server"))[0]
    return ServerFacts(identifier, oid, encoding, recovering, probe, link.version, locale)


def find(link: Link, name: str) -> Relation:
    """The relation ``name``: as SQL reads it (search path, folding, quotes), else exactly as it is written.

    Raises ``ConfigError`` (``TABLE_MISSING``) when there is none, ``ServerError`` without the right to look.
    """
    oid = None
    try:
        oid = link.value("SELECT pg_catalog.to_regclass($1::text)::oid::bigint", name)
    except ServerError as error:
        if error.sqlstate == "42501":
            raise
    if oid is None:
        # Somebody who writes Orders for "Orders" means it.
        found = link.rows(
            "SELECT c.oid::bigint FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND (c.relname::text = $1::text AND n.nspname = ANY (pg_catalog.current_schemas(false))"
            " OR pg_catalog.concat(n.nspname, '.', c.relname) = $1::text) LIMIT 2",
            name,
        )
        oid = found[0][0] if len(found) == 1 else None
    relation = describe(link, oid) if oid is not None else None
    if relation is None or relation.kind not in "rpvmf":
        raise ConfigError(
            f"{link.target} has no table {name}",
            "TABLE_MISSING",
            next="Check the name; --table takes SCHEMA.NAME, and quotes as SQL does.",
            details={"table": name, "target": str(link.target)},
        )
    return relation


def describe(link: Link, oid: int) -> Relation | None:
    """The relation of ``oid``; None when it is gone. Type names in it are qualified where the search path does not reach."""
    text = link.value(query("moves/relation"), oid)
    return msgspec.json.decode(text, type=Relation) if text else None
