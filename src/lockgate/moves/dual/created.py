"""The table that ``create = true`` makes: which types hold the source's values in another engine. Pure, but for the names that an engine quotes."""

import re

from lockgate.stores.neutral import TYPES
from lockgate.stores.postgres import FAMILY_OF
from lockgate.stores.speaking import Speaker
from lockgate.stores.table import ANY, Column, Table

WIDE = (65, 30)
"""Digits and scale of the widest DECIMAL of MariaDB and MySQL."""
LENGTHS = 10_000
"""So many characters in all keep their lengths in MySQL: a row there has 65,535 bytes, and a character four."""
_SIZED = re.compile(r"(?:numeric|decimal)\((\d+),\s*(\d+)\)", re.IGNORECASE)
_VARCHAR = re.compile(r"(?:character varying|varchar)\((\d+)\)", re.IGNORECASE)


def digits(type_: str) -> tuple[int, int] | None:
    """(digits, scale) of a DECIMAL or NUMERIC that says them; None where it does not."""
    found = _SIZED.match(type_)
    return (int(found[1]), int(found[2])) if found else None


def would_be(source: Table, name: str, engine: str) -> Table:
    """The table that ``create`` makes in ``engine`` for the rows of ``source``."""
    key = source.unique[0] if source.unique else ()
    lengths = [int(m[1]) for c in source.columns if (m := _VARCHAR.match(c.type))]
    short = sum(lengths) <= LENGTHS
    columns = []
    for c in source.columns:
        if c.generated:
            continue
        family = own_family(c, False) if c.family != "any" else "any" if engine == "sqlite" else declared(c.type)  # fmt: skip
        type_, family = _type(c, family, source.engine, engine, short=short)
        if engine == "mysql" and c.name in key and type_ == "longtext":
            type_ = "varchar(255)"
        if engine == "mysql" and c.not_null:
            type_ = type_.removesuffix(" NULL DEFAULT NULL")
        shown = family if engine != "sqlite" else "any"
        columns.append(Column(c.name, type_, type_, shown, False, c.not_null or c.name in key))
    return Table(name, tuple(columns), (key,) if key else (), 0, engine, 0, "")


def _type(column: Column, family: str, from_: str, to: str, *, short: bool) -> tuple[str, str]:
    """(type in ``to``, family) for a column: the source's own where the engine is the same, else one that holds as much."""
    own = column.type
    if from_ == to == "postgres" and re.sub(r"\(.*?\)", "", own) == column.base and column.base in FAMILY_OF:
        return own, family
    if from_ == to == "mysql":
        return own + (" NULL DEFAULT NULL" if column.base == "timestamp" else ""), family
    if to == "postgres" and from_ == "mysql" and own.startswith("bigint") and "unsigned" in own:
        return "numeric(20, 0)", "decimal"
    if family == "decimal" and to in ("postgres", "mysql"):
        found = digits(own)
        if found and (to == "postgres" or (found[0] <= WIDE[0] and found[1] <= WIDE[1])):
            return f"{'numeric' if to == 'postgres' else 'decimal'}({found[0]}, {found[1]})", family
    if family == "text" and to in ("postgres", "mysql") and (m := _VARCHAR.match(own)) and short:
        return f"varchar({m[1]})", family
    return TYPES[to][family], family


def own_family(column: Column, typed: bool) -> str:
    """The family of a column that only one side has. ``typed``: the other side's engine has types.

    What such an engine gives for a column of SQLite carries no mark of its type, so it is read as what the column was declared for.
    """
    if column.family == ANY and typed:
        return declared(column.type)
    return column.family if column.family in TYPES["postgres"] else "text"


_WORDS = (
    ("INT", "integer"), ("BLOB", "bytes"), ("REAL", "float"), ("FLOA", "float"), ("DOUB", "float"), ("NUMERIC", "decimal"), ("DEC", "decimal"),
    ("BOOL", "boolean"), ("TIMESTAMP", "timestamp"), ("DATETIME", "timestamp"), ("DATE", "date"), ("JSON", "json"), ("UUID", "uuid"),
)  # fmt: skip


def declared(type_: str) -> str:
    """The family that a declared type of SQLite, which binds no row, says a column is meant to have."""
    return next((family for sign, family in _WORDS if sign in type_.upper()), "text")


def create_sql(table: Table, speaker: Speaker) -> str:
    """The statement that makes ``table``, with character set and collation named where the engine has them."""
    lines = [f"{speaker.name(c.name)} {c.type}{' NOT NULL' if c.not_null else ''}" for c in table.columns]
    if table.unique:
        lines.append(f"PRIMARY KEY ({', '.join(map(speaker.name, table.unique[0]))})")
    tail = " ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin" if table.engine == "mysql" else ""
    return f"CREATE TABLE {speaker.name(table.name)} ({', '.join(lines)}){tail}"
