"""Where the records of a build come from: a file of JSON lines, or a table. Sorted by id, so that a build can resume."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from lockgate.errors import ConfigError
from lockgate.postgres.link import Link
from lockgate.postgres.quoting import identifier
from lockgate.postgres.sqlstate import ServerError
from lockgate.stores.content import Record
from lockgate.stores.recordsql import sent_vector
from lockgate.stores.vectors import Packed


class Source(NamedTuple):
    """How many records there are, and the records after an id."""

    total: int
    records: Any


class RecordError(ConfigError):
    """A record cannot be read; the message names file, line and field."""

    default_reason = "INDEX_RECORD"


def from_file(path: Path) -> dict[str, Record]:
    """Records of a file: one JSON object a line, with ``_id`` or ``id``, ``title``, ``text``, ``vector``, ``payload``."""
    found: dict[str, Record] = {}
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file", "USAGE")
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                record = _record(f"{path}:{number}", line)
                if record.id in found:
                    raise RecordError(
                        f"{path}:{number}: {record.id!r} stands there twice",
                        next="Give each record its own id.",
                    )
                found[record.id] = record
    return dict(sorted(found.items()))


def _record(where: str, line: str) -> Record:
    _refuse_half(line, f"{where}: not UTF-8")
    try:
        row = json.loads(line)
    except ValueError as error:
        raise RecordError(f"{where}: not JSON: {error}") from None
    name = row.get("_id", row.get("id")) if isinstance(row, dict) else None
    if not isinstance(name, str | int) or isinstance(name, bool) or str(name) == "":
        raise RecordError(f"{where}: `_id` is missing")
    title, text = row.get("title") or "", row.get("text") or ""
    if not isinstance(title, str) or not isinstance(text, str):
        raise RecordError(f"{where}: `title` or `text` is not a text")
    for field, value in (("_id", str(name)), ("title", title), ("text", text)):
        if "\0" in value:
            raise RecordError(
                f"{where}: `{field}` holds a NUL (\\u0000), which no store keeps",
                next="Take it out of the record.",
            )
    payload = canonical_json(row.get("payload", {}))
    _refuse_half(f"{name}{title}{text}{payload}", f"{where}: half of a surrogate pair, which is no character")
    return Record(str(name), f"{title}\n{text}" if title and text else title or text, payload, as_vector(row.get("vector"), where))  # fmt: skip


def _refuse_half(text: str, words: str) -> None:
    """Raise ``RecordError`` for a text that cannot be encoded: bytes that were no UTF-8, or half of a pair."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        at = ord(text[error.start])
        shown = f"the byte {at - 0xDC00:#04x}" if 0xDC80 <= at <= 0xDCFF else f"\\u{at:04x}"
        raise RecordError(f"{words}: {shown}", next="Write the file in UTF-8.") from None


def canonical_json(value: object) -> str:
    """``value`` as JSON text with sorted keys and without spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def as_vector(value: object, where: str) -> tuple[float, ...] | Packed | None:
    """A list of numbers, its text, or its canonical bytes (``\\x`` and hex, too), as a vector; None for none. Raises ``RecordError`` for anything else."""
    if value is None:
        return None
    if isinstance(value, bytes) or (isinstance(value, str) and value.startswith("\\x")):
        return _from_bytes(value, where)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = ()
    # By the C loops of map and set: a move reads every component twice.
    if not isinstance(value, list) or not value or not set(map(type, value)) <= {int, float}:
        raise RecordError(f"{where}: `vector` is not a list of numbers")
    numbers = tuple(map(float, value))
    if not all(map(math.isfinite, numbers)) or max(map(abs, numbers)) >= 3.4e38:
        raise RecordError(f"{where}: `vector` holds a number that binary32 cannot hold")
    return numbers


def _from_bytes(value: bytes | str, where: str) -> Packed:
    try:
        found = Packed(bytes.fromhex(value[2:]) if isinstance(value, str) else value)
    except ValueError:
        found = Packed(b"")
    if not found.data or len(found.data) % 4:
        raise RecordError(f"{where}: `vector` is not a list of numbers")
    if not found.is_finite():
        raise RecordError(f"{where}: `vector` holds a number that binary32 cannot hold")
    return found


def from_table(link: Link, table: str, id: str, text: str, vector: str, after: str) -> Iterator[Record]:
    """Records of a table, in the order of their ids as text, after ``after``. Inside a transaction only."""
    columns = f'({identifier(id)})::text COLLATE "C" AS k, {identifier(text)}::text'
    if vector:
        sent = sent_vector(link.rows, dotted(table), identifier(vector))
        columns += f", {sent or f'{identifier(vector)}::text'}"
    sql = f"SELECT * FROM (SELECT {columns} FROM {dotted(table)}) q WHERE k > $1 ORDER BY k"  # noqa: S608 - quoted names
    for row in link.stream(sql, after):
        yield Record(row[0], row[1] or "", "{}", as_vector(row[2], f"{table} {row[0]!r}") if vector else None)


def count_table(link: Link, table: str, id: str) -> int:
    """How many rows a table has. Raises ``ConfigError`` where it cannot be read, or ids are missing or double."""
    try:
        rows, ids, distinct = link.rows(
            f"SELECT count(*), count({identifier(id)}), count(DISTINCT {identifier(id)}::text) FROM {dotted(table)}"  # noqa: S608 - quoted names
        )[0]
    except ServerError as error:
        raise ConfigError(f"--table {table}: {error.message}", "USAGE") from None
    if rows != ids or rows != distinct:
        raise ConfigError(
            f"--table {table}: the column {id} is null or double in {rows - min(ids, distinct)} rows",
            "INDEX_RECORD",
            next="Name a column that identifies a row: --id",
        )
    return int(rows)


def dotted(name: str) -> str:
    """``schema.table`` or ``table``, quoted."""
    return ".".join(identifier(part) for part in name.split("."))
