"""The tables of a scratch database as plain values: what has to be known to make rows for them."""

from collections.abc import Iterable

import msgspec

from lockgate.postgres.queries import query
from lockgate.postgres.wire import Call, Wire


class ForeignKey(msgspec.Struct, frozen=True):
    """Columns that have to stand in another table."""

    columns: tuple[str, ...]
    schema: str
    table: str
    refers: tuple[str, ...]


class ColumnOf(msgspec.Struct, frozen=True, rename="camel"):
    """A column. ``base`` is the type behind domains, ``modifier`` its typmod, ``labels`` those of an enum.

    ``unique`` says that it is in a unique key, ``alone`` that it is one by itself. ``checks`` are those of the table that
    name this column and no other, ``domain`` those of its type, in which the column is called VALUE. ``choices`` are values,
    as SQL, that all of them accept, and ``plain`` says that they accept an ordinary value: both once somebody tried. ``number`` stays when the column is renamed; 0 for one of no table.
    """

    name: str
    type: str
    base: str
    kind: str = "b"
    category: str = "S"
    element: str = ""
    modifier: int = -1
    not_null: bool = False
    default: bool = False
    identity: bool = False
    generated: bool = False
    labels: tuple[str, ...] = ()
    unique: bool = False
    alone: bool = False
    sequence: bool = False
    checks: tuple[str, ...] = ()
    domain: tuple[str, ...] = ()
    plain: bool = True
    choices: tuple[str, ...] = ()
    number: int = 0


class Table(msgspec.Struct, frozen=True):
    """A table or view; ``partition`` is the condition of its place in a partitioned table, else ""."""

    oid: int
    kind: str
    schema: str
    name: str
    columns: tuple[ColumnOf, ...]
    foreign: tuple[ForeignKey, ...] = ()
    checks: tuple[str, ...] = ()
    partition: str = ""

    @property
    def key(self) -> str:
        """The name as reports show it."""
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"

    @property
    def quoted(self) -> str:
        """The name as SQL takes it."""
        return f"{quote(self.schema)}.{quote(self.name)}"


def quote(name: str) -> str:
    """A name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL takes it, whatever ``standard_conforming_strings`` says."""
    escaped = text.replace("'", "''")
    return f"E'{escaped.replace(chr(92), chr(92) * 2)}'" if "\\" in escaped else f"'{escaped}'"


HOLDS_ROWS = "r"
CAN_BE_ASKED = "rpvm"
HAS_COLUMNS = "rpvmc"
"""What can be asked, and composite types."""


_PREPARED = "lockgate_tables"


def prepare_reading(wire: Wire) -> None:
    """Prepare the query of ``read_tables`` on a session that asks it often: planning it costs more than running it."""
    wire.prepare(_PREPARED, query("rehearsal/tables"))


def read_tables(
    wire: Wire, known: Iterable[int] = (), *, kinds: str = HOLDS_ROWS, prepared: bool = False
) -> list[Table]:
    """The relations of these kinds, in the order in which they were made; those with oids in ``known`` are left out.

    ``prepared`` says that ``prepare_reading`` was called for this session.
    """
    left_out = "{" + ",".join(map(str, known)) + "}"
    calls = [
        Call("SET search_path = pg_catalog, pg_temp"),  # every other name comes out qualified
        Call(
            _PREPARED if prepared else query("rehearsal/tables"),
            (left_out, "{" + ",".join(kinds) + "}"),
            prepared,
        ),
        Call("RESET search_path"),
    ]
    decode = msgspec.json.Decoder(Table).decode
    return [decode(row[0] or "") for row in wire.batch(calls, label="tables")[1].rows]
