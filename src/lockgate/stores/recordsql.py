"""The digest of one record as SQL: the frames of ``content.record_digest``, made where the rows are.

A table keeps it in a generated column, so that the content root of a million records is made without reading their texts
and vectors. The expression of such a column must be immutable, which ``convert_to`` is not: it asks for the encoding of
the database. Where that is UTF-8 the stored bytes are the ones wanted, and ``decode`` gives them with backslashes doubled.
"""

from collections.abc import Callable, Sequence
from typing import Any

from lockgate.postgres.quoting import qualified
from lockgate.stores.canonical import encode
from lockgate.stores.content import RECORD

_HEAD = encode(RECORD)
COLUMN = "record_hash"
"""The generated column that keeps a record's digest."""


def kept_column(vector: str, length: str) -> str:
    """The definition of the generated column, for a database in UTF-8. ``vector`` and ``length`` as in ``record_digest_sql``."""
    body = _digest(
        vector, length,
        data=lambda c: f"pg_catalog.decode(pg_catalog.replace({c} COLLATE \"C\", E'\\\\', E'\\\\\\\\'), 'escape')",
        size=lambda c: f"pg_catalog.octet_length({c})",
    )  # fmt: skip
    return f"{COLUMN} bytea NOT NULL GENERATED ALWAYS AS ({body}) STORED"


def record_digest_sql(vector: str, length: str, *, utf8: bool) -> str:
    """The digest of a row's id, text and payload, with ``vector`` (SQL for the hash of its vector) of ``length`` bytes (SQL)."""
    return _digest(
        vector, length,
        data=lambda c: f"pg_catalog.convert_to({c}, 'UTF8')",
        size=(lambda c: f"pg_catalog.octet_length({c})") if utf8 else (lambda c: f"pg_catalog.length(pg_catalog.convert_to({c}, 'UTF8'))"),
    )  # fmt: skip


def _digest(vector: str, length: str, *, data: Callable[[str], str], size: Callable[[str], str]) -> str:
    fields = ("id", "text", "payload")
    frames = 9 * (len(fields) + 1)  # a tag and eight bytes of length each
    total = " + ".join([str(len(_HEAD) + frames), *map(size, fields), length])
    parts = [_frame("L", total), f"'\\x{_HEAD.hex()}'::bytea"]
    for field in fields:
        parts += [_frame("S", size(field)), data(field)]
    parts += [_frame("B", length), vector]
    return f"pg_catalog.sha256({' || '.join(parts)})"


def _frame(tag: str, length: str) -> str:
    return f"'\\x{tag.encode().hex()}'::bytea || pg_catalog.int8send({length})"


def sent_vector(ask: Callable[[str], Sequence[tuple[Any, ...]]], table: str, expression: str) -> str:
    """SQL for the canonical bytes of a vector of pgvector, "" where ``expression`` over the (quoted) ``table`` gives something else.

    Written as text and read again, each component of a vector would cost more than all the rest of its row.
    """
    found = ask(
        "SELECT n.nspname FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE t.typname = 'vector' "
        f"AND t.oid = pg_catalog.pg_typeof((SELECT {expression} FROM {table} LIMIT 0))::oid"
    )
    return f"pg_catalog.substr({qualified(found[0][0], 'vector_send')}({expression}), 5)" if found else ""
