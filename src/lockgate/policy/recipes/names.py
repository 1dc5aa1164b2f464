"""Names, types and expressions of a call, as SQL that cannot be anything else than what was asked for."""

import hashlib
import re

from msgspec import Struct

from lockgate.policy.model.spelling import quote
from lockgate.policy.recipes.recipe import RecipeError
from lockgate.postgres.tree import SyntaxProblem, statements_of
from lockgate.postgres.tree import words as w

_BARE = re.compile(r"[^\W\d][\w$]*")
_NAME = re.compile(r'"(?:[^"]|"")+"|[^\W\d][\w$]*')
_LONGEST = 63
SYNC_TAG = "$sync$"
"""The quotes around the bodies of generated functions."""


def name_of(key: str, value: str) -> str:
    """The name that ``value`` spells: bare words in lower case, as the server reads them, quoted ones as they stand."""
    value = value.strip()
    if _BARE.fullmatch(value):
        name = value.lower()
    elif _NAME.fullmatch(value):
        name = value[1:-1].replace('""', '"')
    else:
        raise RecipeError(f'{key}={value}: this is no name; write it in double quotes, as in SQL: "{value}"')
    if SYNC_TAG in name:
        raise RecipeError(f"{key}={value}: {SYNC_TAG} may not stand in it")
    if len(name.encode()) > _LONGEST:
        raise RecipeError(f"{key}={value}: a name has at most {_LONGEST} bytes")
    return name


def names_of(key: str, value: str) -> list[str]:
    """The names of a list with commas. Raises ``RecipeError`` when one of them stands twice."""
    names = [name_of(key, part) for part in split(value)]
    if not names or len(set(names)) != len(names):
        raise RecipeError(f"{key}={value}: a list of different names, with commas")
    return names


def split(value: str) -> list[str]:
    """The parts between commas that stand in no quotes and no parentheses."""
    parts, depth, quoted = [""], 0, False
    for char in value:
        quoted ^= char == '"'
        depth += 0 if quoted else (char == "(") - (char == ")")
        if char == "," and not quoted and not depth:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts if part.strip()]


def fitted(*words: str) -> str:
    """A name made of ``words``, within 63 bytes: what does not fit is cut and told apart by a short sum."""
    name = "_".join(words)
    if len(name.encode()) <= _LONGEST:
        return name
    mark = hashlib.sha256(name.encode()).hexdigest()[:6]
    tail = f"_{mark}_{words[-1]}"
    return name.encode()[: _LONGEST - len(tail.encode())].decode("utf-8", "ignore") + tail


class Table(Struct, frozen=True):
    """A table (or type) by its name, with a schema where one was given."""

    schema: str
    name: str

    @property
    def sql(self) -> str:
        """The name as SQL spells it."""
        return f"{quote(self.schema)}.{quote(self.name)}" if self.schema else quote(self.name)

    def beside(self, name: str) -> str:
        """Another object of the same schema, as SQL spells it."""
        return Table(self.schema, name).sql


def table_of(key: str, value: str) -> Table:
    """The table that ``value`` spells, with or without a schema."""
    parts = re.findall(r'((?:"(?:[^"]|"")+"|[^".])+)(?:\.|$)', value.strip())
    if len(parts) not in (1, 2) or ".".join(parts) != value.strip():
        raise RecipeError(f"{key}={value}: write table or schema.table")
    names = [name_of(key, part) for part in parts]
    return Table("" if len(names) == 1 else names[0], names[-1])


def type_of(key: str, value: str) -> str:
    """``value``, when it is a type and nothing more."""
    _one_action(key, value, f"ALTER TABLE t ADD COLUMN c {value}", "a type")
    _one_action(key, value, f"ALTER TABLE t ALTER COLUMN c TYPE {value}", "a type")
    try:
        statements_of(f"SELECT NULL::{value}")
        statements_of(f"CREATE DOMAIN d AS {value} CHECK (true)")
        statements_of(f"CREATE FUNCTION f(a {value} DEFAULT 1) RETURNS int LANGUAGE sql AS ''")
    except SyntaxProblem:
        raise RecipeError(f"{key}={value}: this is no type") from None
    return value


def expression_of(key: str, value: str) -> str:
    """``value``, when it is one expression and nothing more."""
    for form in (f"({value})", f"(({value}) IS NULL)"):
        _one_action(key, value, f"ALTER TABLE t ADD CONSTRAINT c CHECK {form} NOT VALID", "an expression")
    return value


def _one_action(key: str, value: str, sql: str, what: str) -> None:
    if SYNC_TAG in value:
        raise RecipeError(f"{key}={value}: {SYNC_TAG} may not stand in it")
    try:
        found = statements_of(sql)
    except SyntaxProblem as problem:
        raise RecipeError(f"{key}={value}: this is not {what}: {problem.message}") from None
    statement = found[0].statement if len(found) == 1 else None
    if not isinstance(statement, w.AlterTable) or len(statement.actions) != 1:
        raise RecipeError(f"{key}={value}: this is not {what} alone")
