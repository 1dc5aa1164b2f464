"""The queries of a release: read from a .sql file, or from an export of pg_stat_statements as CSV or JSON."""

import csv
import io
import json
from pathlib import Path

import msgspec

from lockgate.errors import ConfigError
from lockgate.postgres.normalised import preparable
from lockgate.postgres.placeholders import KINDS, Query, queries_of
from lockgate.postgres.script import ScriptError, split


class QuerySet(msgspec.Struct, frozen=True):
    """The queries of one release, under the name that the call gave it; ``skipped`` are those that no server can prepare."""

    name: str
    queries: tuple[Query, ...]
    skipped: int = 0


def read_queries(name: str, file: Path) -> QuerySet:
    """Read the queries of release ``name``. Raises ``ConfigError`` that names file and line."""
    try:
        text = file.read_text("utf-8-sig")
    except OSError as error:
        raise _wrong(name, file, 0, error.strerror or "it cannot be read") from None
    except UnicodeDecodeError:
        raise _wrong(name, file, 0, "it is not UTF-8") from None
    if file.suffix.lower() == ".csv":
        found = _exported(name, file, _from_csv(name, file, text))
    elif file.suffix.lower() == ".json":
        found = _exported(name, file, _from_json(name, file, text))
    else:
        try:
            found = QuerySet(name, tuple(queries_of(preparable(text))))
        except ScriptError as error:
            raise _wrong(name, file, error.line, str(error)) from None
    if not found.queries:
        raise _wrong(name, file, 0, "no query in it")
    return found


def _from_csv(name: str, file: Path, text: str) -> list[str]:
    rows = csv.DictReader(io.StringIO(text))
    if "query" not in (rows.fieldnames or ()):
        raise _wrong(name, file, 1, "it has no column `query`")
    return [row["query"] or "" for row in rows]


def _from_json(name: str, file: Path, text: str) -> list[str]:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise _wrong(name, file, 0, f"it is not JSON: {error}") from None
    items = data.get("queries") if isinstance(data, dict) else data
    if not isinstance(items, list) or not all(
        isinstance(i, str) or (isinstance(i, dict) and isinstance(i.get("query"), str)) for i in items
    ):
        raise _wrong(name, file, 0, "it is not a list of queries, or of objects with `query`")
    return [item if isinstance(item, str) else item["query"] for item in items]


def _exported(name: str, file: Path, texts: list[str]) -> QuerySet:
    """Queries of an export. It also holds what applications do not send as queries (SET, BEGIN): that is counted."""
    found: list[Query] = []
    skipped = 0
    for text in map(preparable, texts):
        try:
            statements = split(text)
        except ScriptError:
            # What the server's own normalisation made of it is not SQL: the server will say so, and it is held.
            found.append(Query(text.strip(), 0, "read", ()))
            continue
        if len(statements) == 1 and statements[0].kind in KINDS:
            found += queries_of(text)
        else:
            skipped += 1
    return QuerySet(name, tuple(dict.fromkeys(found)), skipped)


def _wrong(name: str, file: Path, line: int, what: str) -> ConfigError:
    where = f"{file}:{line}" if line else str(file)
    return ConfigError(
        f"--queries {name}={where}: {what}",
        "USAGE",
        next="Give a .sql file of queries with $1 parameters, or a .csv or .json export with `query`.",
    )
