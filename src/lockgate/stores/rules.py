"""What a table promises beside its columns' types: uniqueness, checks, defaults, numbers, references, indexes. Only looks."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from lockgate.stores.speaking import MysqlSpeaker, P, PostgresSpeaker, Speaker


class Rules(NamedTuple):
    """The rules of one table, without its primary key.

    ``unique`` are the columns of unique indexes on columns alone, ``defaults`` and ``numbered`` (identity, serial, AUTO_INCREMENT) are by
    column, ``choices`` the columns of an enum or set with their type. Of the rest the names are told.
    """

    unique: tuple[tuple[str, ...], ...] = ()
    defaults: Mapping[str, str] = {}
    numbered: Mapping[str, str] = {}
    choices: Mapping[str, str] = {}
    checks: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()


def rules(speaker: Speaker, table: str) -> Rules:
    """The rules of ``table``. Raises what the store raises."""
    if isinstance(speaker, PostgresSpeaker):
        return _of_postgres(speaker, speaker.name(table))
    if isinstance(speaker, MysqlSpeaker):
        return _of_mysql(speaker, table)
    return _of_sqlite(speaker, table)


_INDEXES = """
SELECT c.relname, i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL,
       (SELECT array_to_json(array_agg(a.attname ORDER BY k.place)) FROM unnest(i.indkey::int2[]) WITH ORDINALITY k (number, place)
          JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number WHERE k.place <= i.indnkeyatts)::text
  FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
 WHERE i.indrelid = pg_catalog.to_regclass($1) AND NOT i.indisprimary ORDER BY 1
"""
_COLUMNS = """
SELECT a.attname, pg_catalog.pg_get_expr(d.adbin, d.adrelid), a.attidentity <> '', t.typtype = 'e', pg_catalog.format_type(a.atttypid, a.atttypmod)
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.attgenerated = ''
 WHERE a.attrelid = pg_catalog.to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_CONSTRAINTS = "SELECT conname, contype::text FROM pg_catalog.pg_constraint WHERE conrelid = pg_catalog.to_regclass($1) AND contype IN ('c', 'f', 'x') ORDER BY 1"  # fmt: skip


def _of_postgres(speaker: PostgresSpeaker, name: str) -> Rules:
    import json

    link = speaker.link
    unique, indexes = [], []
    for index, plain, columns in link.rows(_INDEXES, name):
        if plain:
            unique.append(tuple(json.loads(columns)))
        else:
            indexes.append(index)
    defaults, numbered, choices = {}, {}, {}
    for column, default, identity, enum, type_ in link.rows(_COLUMNS, name):
        if identity or (default or "").startswith("nextval("):
            numbered[column] = default or "identity"
        elif default is not None:
            defaults[column] = default
        if enum:
            choices[column] = type_
    constraints = link.rows(_CONSTRAINTS, name)
    checks = tuple(n for n, kind in constraints if kind != "f")
    return Rules(tuple(unique), defaults, numbered, choices, checks, tuple(n for n, kind in constraints if kind == "f"), tuple(indexes))  # fmt: skip


def _of_mysql(speaker: MysqlSpeaker, table: str) -> Rules:
    bare = table.strip('`"').rpartition(".")[2]
    here = f"table_schema = DATABASE() AND table_name = {P}"
    keys: dict[str, list[str | None]] = {}
    plain: dict[str, bool] = {}
    for index, column, loose, part in speaker.ask(f"SELECT index_name, column_name, non_unique, sub_part FROM information_schema.statistics WHERE {here} AND index_name <> 'PRIMARY' ORDER BY index_name, seq_in_index", bare):  # fmt: skip
        keys.setdefault(index, []).append(column)
        plain[index] = plain.get(index, True) and not int(loose) and part is None and column is not None
    defaults, numbered, choices = {}, {}, {}
    for column, default, extra, data, type_ in speaker.ask(f"SELECT column_name, column_default, extra, data_type, column_type FROM information_schema.columns WHERE {here} ORDER BY ordinal_position", bare):  # fmt: skip
        if "auto_increment" in (extra or "").lower():
            numbered[column] = "AUTO_INCREMENT"
        elif default not in (None, "NULL"):
            defaults[column] = str(default)
        if data in ("enum", "set"):
            choices[column] = str(type_)
    named = speaker.ask(f"SELECT constraint_name, constraint_type FROM information_schema.table_constraints WHERE {here} AND constraint_type IN ('CHECK', 'FOREIGN KEY') ORDER BY 1", bare)  # fmt: skip
    # JSON of MariaDB is text with a check that it is JSON.
    json_ = {n for (n,) in speaker.ask("SELECT constraint_name FROM information_schema.check_constraints WHERE constraint_schema = DATABASE() AND check_clause LIKE 'json_valid(%'")}  # fmt: skip
    return Rules(
        tuple(tuple(str(c) for c in columns) for index, columns in keys.items() if plain[index]), defaults, numbered, choices,
        tuple(n for n, kind in named if kind == "CHECK" and n not in json_), tuple(n for n, kind in named if kind != "CHECK"),
        tuple(index for index in keys if not plain[index]),
    )  # fmt: skip


def _of_sqlite(speaker: Speaker, table: str) -> Rules:
    bare = table[1:-1].replace('""', '"') if table.startswith('"') else table
    unique, indexes = [], []
    for name, only, origin, partial in speaker.ask(f"SELECT name, \"unique\", origin, partial FROM pragma_index_list({P}) ORDER BY name", bare):  # fmt: skip
        if origin == "pk":
            continue
        columns = [c for (c,) in speaker.ask(f"SELECT name FROM pragma_index_info({P}) ORDER BY seqno", name)]
        if only and not partial and None not in columns:
            unique.append(tuple(columns))
        else:
            indexes.append(name)
    defaults = {str(c): str(d) for c, d in speaker.ask(f"SELECT name, dflt_value FROM pragma_table_info({P}) WHERE dflt_value IS NOT NULL AND upper(dflt_value) <> 'NULL'", bare)}  # fmt: skip
    text = "".join(t or "" for (t,) in speaker.ask(f"SELECT sql FROM sqlite_master WHERE type = 'table' AND name = {P} COLLATE NOCASE", bare))  # fmt: skip
    named = re.sub(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/", "''", text, flags=re.DOTALL)
    checks = tuple(f"{n} of them" for n in [len(re.findall(r"\bCHECK\s*\(", named, re.IGNORECASE))] if n)
    references = tuple(sorted({f"to {t}" for (t,) in speaker.ask(f"SELECT \"table\" FROM pragma_foreign_key_list({P})", bare)}))  # fmt: skip
    # An INTEGER PRIMARY KEY gives numbers by itself.
    key = [c for c, type_ in speaker.ask(f"SELECT name, type FROM pragma_table_info({P}) WHERE pk > 0", bare) if str(type_).upper() == "INTEGER"]  # fmt: skip
    alone = len(speaker.ask(f"SELECT 1 FROM pragma_table_info({P}) WHERE pk > 0", bare)) == 1
    numbered = {c: "rowid" for c in key if alone}
    return Rules(tuple(unique), defaults, numbered, {}, checks, references, tuple(indexes))
