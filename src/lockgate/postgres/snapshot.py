"""The live catalogue as plain rows: schema, estimates and sizes, and the server around it. No row of data is read,
and of the statistics no value: only how many are NULL, how many differ and how wide they are.

Everything is read in one read-only transaction, so the rows fit each other. A role that may only connect is enough:
catalogues are open to all, and a definition comes from the server's own deparser.
"""

from typing import TypeVar

from msgspec import Struct, json

from lockgate.postgres.queries import query
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.wire import Call, Cancelled, Wire

# (schema, name)
Named = tuple[str, str]


class RelationRow(Struct, frozen=True):
    """A table, view, sequence or composite type. Numbers that the server does not know are -1."""

    schema: str
    name: str
    kind: str
    persistence: str
    partition: bool
    replica_identity: str
    row_security: bool
    owner: str
    tablespace: str
    rows: int
    bytes: int
    age: int
    reads: int
    writes: int
    of_type: Named | None
    parents: list[Named]
    default_partition: bool
    partition_columns: list[str]
    definition: str
    # FOR VALUES …, or DEFAULT
    bound: str
    owner_table: Named | None
    owner_column: str
    # Of a partitioned table: a key has a collation or an operator class of its own.
    partition_order: bool = False


class ColumnRow(Struct, frozen=True):
    """A column; ``expression`` is its default or what generates it."""

    schema: str
    relation: str
    name: str
    type: str
    not_null: bool
    identity: str
    generated: str
    local: bool
    collation: str
    expression: str
    identity_sequence: Named | None
    # From pg_stats: share of NULL, distinct values (below 0: a share of the rows), average bytes. -1, 0, -1: not known.
    null_share: float = -1
    distinct_values: float = 0
    width: int = -1


class ConstraintRow(Struct, frozen=True):
    """A constraint of a table; ``kind`` as in pg_constraint."""

    schema: str
    relation: str
    name: str
    kind: str
    valid: bool
    enforced: bool
    no_inherit: bool
    local: bool
    part: bool
    on_delete: str
    on_update: str
    deferred: bool
    definition: str
    columns: list[str]
    ref_columns: list[str]
    references_table: Named | None
    index: Named | None


class IndexRow(Struct, frozen=True):
    """An index with the statement that would make it."""

    schema: str
    name: str
    definition: str
    valid: bool
    primary: bool
    constraint: str
    tablespace: str
    parent: Named | None
    clustered: bool = False


class TypeRow(Struct, frozen=True):
    """A user type; ``kind`` as in pg_type."""

    schema: str
    name: str
    kind: str
    not_null: bool
    owner: str
    base: str
    labels: list[str]
    constraints: dict[str, bool]
    # Of a domain: its checks as the server writes them.
    checks: list[str] = []
    # Of a domain: its default as the server writes it.
    fallback: str = ""


class PartRow(Struct, frozen=True):
    """A trigger, policy, rule, statistics object, schema, extension, function, publication or published table."""

    what: str
    schema: str
    relation: str
    name: str
    detail: str
    more: str


class ServerRow(Struct, frozen=True):
    """The server around the schema."""

    version: int
    role: str
    superuser: bool
    memberships: list[str]
    max_locks: int
    standbys: int
    freeze_max_age: int
    available_extensions: list[str]
    # How long the counters of reads and writes have been running.
    seconds: float
    home: bool


class Catalogue(Struct, frozen=True):
    """Everything that a snapshot is made from."""

    server: ServerRow
    relations: list[RelationRow]
    columns: list[ColumnRow]
    constraints: list[ConstraintRow]
    indexes: list[IndexRow]
    types: list[TypeRow]
    parts: list[PartRow]
    # The newest applied revision; "" where lockgate was never run.
    revision: str = ""


_SETTINGS = {
    # With nothing else on the path every user's name comes out qualified, and no function of theirs is called.
    "search_path": "pg_catalog, pg_temp",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "standard_conforming_strings": "on",
    "quote_all_identifiers": "off",
    "jit": "off",
    "lock_timeout": "5s",
    "statement_timeout": "60s",
}
_REVISION = "SELECT COALESCE(pg_catalog.max(revision_id), '') FROM lockgate.migration_history"
_TRIES = 3
T = TypeVar("T")


def read_catalogue(wire: Wire, migrator: str) -> Catalogue:
    """Read the catalogue; ``migrator`` is the role that runs the migrations, where it exists.

    Raises ``ServerError`` (``55P03`` when another session keeps a table locked for 5 s, ``42501`` when the history
    may not be read), ``Cancelled``, ``ConnectionLost``. The session is as before when it returns or raises.
    """
    for attempt in range(1, _TRIES + 1):
        try:
            return _read(wire, migrator)
        except (ServerError, Cancelled) as error:
            if wire.alive and wire.in_transaction:
                wire.batch([Call("ROLLBACK")], uncancellable=True, label="rollback")
            # XX000: an object was dropped between the catalogue's row and its deparsing.
            if not isinstance(error, ServerError) or error.sqlstate != "XX000" or attempt == _TRIES:
                raise
    raise AssertionError("unreachable")


def _read(wire: Wire, migrator: str) -> Catalogue:
    settings = ", ".join(
        f"pg_catalog.set_config('{name}', '{value}', true)" for name, value in _SETTINGS.items()
    )
    opening = [
        Call("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
        Call(f"SELECT {settings}"),
        Call(query("snapshot/server"), (migrator,)),
    ]
    server = _rows(wire.batch(opening, label="snapshot server")[2].rows, ServerRow)[0]
    names = ("relations", "columns", "constraints", "indexes", "types", "parts")
    calls = [Call(query(f"snapshot/{name}")) for name in names]
    if server.home:
        calls.append(Call(_REVISION))
    replies = wire.batch([*calls, Call("ROLLBACK")], label="snapshot")
    return Catalogue(
        server,
        _rows(replies[0].rows, RelationRow),
        _rows(replies[1].rows, ColumnRow),
        _rows(replies[2].rows, ConstraintRow),
        _rows(replies[3].rows, IndexRow),
        _rows(replies[4].rows, TypeRow),
        _rows(replies[5].rows, PartRow),
        (replies[6].rows[0][0] or "") if server.home else "",
    )


def _rows(rows: list[tuple[str | None, ...]], kind: type[T]) -> list[T]:
    decode = json.Decoder(kind).decode
    return [decode(row[0] or "") for row in rows]
