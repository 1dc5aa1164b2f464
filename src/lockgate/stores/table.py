"""A table in the words of no particular engine, and how two of them are compared. Pure values."""

import re
from typing import NamedTuple

from lockgate.errors import ConfigError, LockgateError

FAMILIES = (
    "integer", "decimal", "float", "boolean", "text", "bytes", "date", "time", "timestamp", "timestamptz", "uuid", "json",
)  # fmt: skip
"""Kinds of values that every engine has in some form; anything else is a family of its own, named by its type."""


class Column(NamedTuple):
    """One column.

    ``family`` is what values are by nature, ``base`` the type below domains as its engine calls it. ``portable`` says
    that the engine's binary form is the same in every database of one major version.
    """

    name: str
    type: str
    base: str
    family: str
    portable: bool
    not_null: bool = False
    generated: bool = False


class Table(NamedTuple):
    """A table as a store describes it. ``unique`` are its keys without NULLs, the primary one first."""

    name: str
    columns: tuple[Column, ...]
    unique: tuple[tuple[str, ...], ...]
    rows: int
    engine: str
    version: int
    probe: str

    def column(self, name: str) -> Column:
        """The column ``name``, as written or in lower case. Raises ``ConfigError``."""
        for wanted in (name, name.lower()):
            for column in self.columns:
                if column.name == wanted:
                    return column
        raise ConfigError(
            f"{self.name} has no column {name}",
            "COLUMN_MISSING",
            next=f"Its columns: {', '.join(c.name for c in self.columns)}.",
            details={"table": self.name, "column": name},
        )

    def proves_unique(self, key: tuple[str, ...]) -> bool:
        """True when an index guarantees that ``key`` is unique and not NULL."""
        return any(set(unique) <= set(key) for unique in self.unique)


class Item(NamedTuple):
    """One column of a comparison, and how its value is rendered: ``binary``, ``text``, or a family's canonical form.

    ``base`` is the type that both sides have, where it is one; else empty.
    """

    name: str
    rendering: str
    base: str = ""


class Comparison(NamedTuple):
    """What is compared, and how.

    ``lane`` is ``binary`` (one engine, one major version) or ``canonical`` (text with lengths and NULL tags).
    ``algorithm`` is ``hash`` (the server's own, probed equal on both sides) or ``sha256``. ``profile`` names every
    column whose values are normalised before they are compared, and how.
    """

    key: tuple[Item, ...]
    columns: tuple[Item, ...]
    lane: str
    algorithm: str
    profile: tuple[tuple[str, str], ...] = ()
    integer_key: bool = False


def compare(
    source: Table, target: Table, key: tuple[str, ...] = (), columns: tuple[str, ...] = ()
) -> Comparison:
    """How ``source`` and ``target`` are compared, or why they cannot be.

    Raises ``ConfigError`` for a missing key or column, ``LockgateError`` with ``COLUMNS_DIFFER`` or ``TYPES_DIFFER``.
    """
    chosen = key or _common_key(source, target)
    key_columns = tuple(source.column(k) for k in chosen)
    if len({c.name for c in key_columns}) < len(key_columns):
        raise ConfigError(f"--key names a column twice: {', '.join(chosen)}", "USAGE")
    wanted = tuple(source.column(c) for c in columns) if columns else source.columns
    if not columns:
        missing = [c.name for c in source.columns if c.name not in {t.name for t in target.columns}]
        extra = [c.name for c in target.columns if c.name not in {s.name for s in source.columns}]
        if missing or extra:
            told = [f"only in the source: {', '.join(missing)}"] if missing else []
            told += [f"only in the target: {', '.join(extra)}"] if extra else []
            raise LockgateError(
                f"{source.name} and {target.name} have different columns; {'; '.join(told)}",
                "COLUMNS_DIFFER",
                details={"missing": missing, "extra": extra},
            )
    names = list(dict.fromkeys([c.name for c in key_columns] + [c.name for c in wanted]))
    pairs = [(source.column(n), target.column(n)) for n in names]
    unlike = [(s, t) for s, t in pairs if not _comparable(s, t, source.engine == target.engine)]
    if unlike:
        told = [f"{s.name} ({s.type} and {t.type})" for s, t in unlike]
        raise LockgateError(
            f"columns of {source.name} and {target.name} have types that cannot be compared: {', '.join(told)}",
            "TYPES_DIFFER",
            details={"columns": {s.name: [s.type, t.type] for s, t in unlike}},
        )
    one_engine = source.engine == target.engine
    same_hash = one_engine and source.probe == target.probe and bool(source.probe)
    binary = same_hash and source.version == target.version
    profile: list[tuple[str, str]] = []

    def item(s: Column, t: Column) -> Item:
        if binary and s.portable and t.portable and s.base == t.base:
            return Item(s.name, "binary", s.base)
        if one_engine and s.base == t.base and s.family != ANY:
            return Item(s.name, "text")
        family = common_family(s, t)
        profile.append((s.name, f"{s.type} and {t.type} as {family}{_NORMALISED.get(family, '')}"))
        return Item(s.name, f"canonical:{family}")

    items = [item(s, t) for s, t in pairs]
    return Comparison(
        key=tuple(items[: len(key_columns)]),
        columns=tuple(items),
        lane="binary" if binary else "canonical",
        algorithm="hash" if same_hash else "sha256",
        profile=tuple(profile),
        integer_key=len(key_columns) == 1
        and same_hash
        and {key_columns[0].family, target.column(key_columns[0].name).family} == {"integer"},
    )


ANY = "any"
"""The family of a column whose engine lets every row hold what it likes: it is read as the other side's family."""
PACKED = "packed"
"""The family of an expression that gives the canonical bytes of a vector; no column has it."""
_NORMALISED = {
    "decimal": ", trailing zeros of the scale left out",
    "float": ", by the bits of a double",
    "json": ", by value: key order and blanks do not count",
    "any": " value with its type",
    "boolean": ", 1 and 0",
    "timestamptz": ", at UTC",
}
_PAIRS = {
    frozenset({"boolean", "integer"}): "integer",
    frozenset({"integer", "decimal"}): "decimal",
    frozenset({"uuid", "text"}): "text",
    frozenset({"json", "text"}): "json",
}


def common_family(source: Column, target: Column) -> str:
    """The family as which two columns can be compared; empty when there is none."""
    if source.family == target.family:
        return source.family if source.family in (*FAMILIES, ANY) else ""
    if ANY in (source.family, target.family):
        other = target.family if source.family == ANY else source.family
        return other if other in FAMILIES else "text"
    return _PAIRS.get(frozenset({source.family, target.family}), "")


def _comparable(source: Column, target: Column, one_engine: bool) -> bool:
    return (one_engine and source.base == target.base) or bool(common_family(source, target))


def _common_key(source: Table, target: Table) -> tuple[str, ...]:
    there = {c.name for c in target.columns}
    here = {c.name for c in source.columns}
    for candidates, others in ((source.unique, there), (target.unique, here)):
        for unique in candidates:
            if set(unique) <= others:
                return unique
    raise ConfigError(
        f"neither {source.name} nor {target.name} has a primary key that both sides have",
        "KEY_MISSING",
        next="Name the columns that identify a row: --key a,b",
        details={"source": source.name, "target": target.name},
    )


_WORD = re.compile(r'\s*("(?:[^"]|"")+"|[^,"]+?)\s*(?:,|$)')


def split_names(text: str, option: str) -> tuple[str, ...]:
    """``a,b,"C,d"`` → ``("a", "b", "C,d")``. Raises ``ConfigError`` that names ``option``."""
    names: list[str] = []
    place = 0
    while place < len(text):
        match = _WORD.match(text, place)
        if match is None:
            raise ConfigError(
                f"{option} {text!r} is not a list of column names", "USAGE", next=f"{option} a,b"
            )
        word = match[1]
        names.append(word[1:-1].replace('""', '"') if word.startswith('"') else word)
        place = match.end()
    if not names or text.rstrip().endswith(","):
        raise ConfigError(f"{option} {text!r} is not a list of column names", "USAGE", next=f"{option} a,b")
    return tuple(names)


def split_pair(text: str) -> tuple[str, str]:
    """``SRC[=DST]`` → both names; an equals sign inside double quotes belongs to the name."""
    quoted = False
    for place, letter in enumerate(text):
        quoted ^= letter == '"'
        if letter == "=" and not quoted:
            pair = text[:place].strip(), text[place + 1 :].strip()
            break
    else:
        pair = text.strip(), text.strip()
    if quoted or not all(pair):
        raise ConfigError(f"--table {text!r} is not SRC or SRC=DST", "USAGE", next="--table orders=orders_v2")
    return pair
