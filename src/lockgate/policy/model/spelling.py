"""Names, keys and types of the model as SQL spells them. What a finding tells people to run is made of these, as is what runs."""

import re
from collections.abc import Iterable

from lockgate.policy.model.schema import BUILT_IN, schema_of
from lockgate.postgres.tree.lexing import parted
from lockgate.postgres.tree.words import CreateIndex, Name, TypeName

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
# Words that are no column name without quotes: the reserved ones of PostgreSQL 18, and those that may only be functions or types.
_RESERVED = frozenset(
    """all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean both case cast char
    character check coalesce collate collation column concurrently constraint create cross current_catalog current_date
    current_role current_schema current_time current_timestamp current_user dec decimal default deferrable desc distinct do
    else end except exists extract false fetch float for foreign freeze from full grant greatest group grouping having ilike in
    initially inner inout int integer intersect interval into is isnull join json_array json_exists json_object json_query
    json_scalar json_serialize json_table json_value lateral leading least left like limit localtime localtimestamp merge_action
    national natural nchar none normalize not notnull null nullif numeric offset on only or order out outer overlaps overlay
    placing position precision primary real references returning right row select session_user setof similar smallint some
    substring symmetric system_user table tablesample then time timestamp to trailing treat trim true union unique user using
    values varchar variadic verbose when where window with xmlattributes xmlconcat xmlelement xmlexists xmlforest
    xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable json json_arrayagg json_objectagg""".split()  # noqa: SIM905 - a page of words is read more easily than a page of quotes
)


def quote(name: str) -> str:
    """``name`` as SQL spells it, in quotes where it needs them."""
    if _PLAIN.fullmatch(name) and name not in _RESERVED:
        return name
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """``value`` as a text of SQL."""
    return "'" + value.replace("'", "''") + "'"


def quoted(names: Iterable[str]) -> str:
    """A list of columns as SQL spells it."""
    return ", ".join(map(quote, names))


def spelled(key: str) -> str:
    """The relation, function or type of a key, with the schema that the key has."""
    schema, name = parted(key)
    return f"{quote(schema)}.{quote(name)}" if schema else quote(name)


def qualified(name: Name) -> str:
    """A name as the user gave it, with a schema where there was one."""
    return f"{quote(name.schema)}.{quote(name.name)}" if name.schema else quote(name.name)


def in_words(name: Name, key: str) -> str:
    """What ``name`` in a file means, which is ``key``: as the file says it, with the schema that it was found in."""
    return qualified(name) if name.schema or name.name == key else spelled(key)


def made_name(word: CreateIndex) -> str:
    """The name that an index is given, after a space; nothing where the server makes it up."""
    return f" {quote(word.name)}" if word.name else ""


def keys_sql(word: CreateIndex, most: int | None = None) -> str:
    """The keys of an index; an expression stands as dots."""
    return ", ".join(quote(key.column) if key.column else "(…)" for key in word.keys[:most])


def beside(key: str, name: str) -> str:
    """Another object of the schema of ``key``: an index, a view, a table."""
    schema = schema_of(key)
    return quote(name) if schema == "public" else f"{quote(schema)}.{quote(name)}"


def type_sql(type: TypeName) -> str:
    """A type with its limits. PostgreSQL's own stand as they are, but for the one that hides behind a word."""
    if type.schema or type.name not in BUILT_IN or type.name == "char":
        name = f"{quote(type.schema)}.{quote(type.name)}" if type.schema else quote(type.name)
        name = '"char"' if name == "char" else name
    else:
        name = type.name
    mods = f"({','.join(map(str, type.mods))})" if type.mods else ""
    return f"{name}{mods}{'[]' if type.array else ''}"
