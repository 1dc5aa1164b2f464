"""Hazards of family F: functions, their bodies, and extensions."""

import re
from collections.abc import Iterator

from lockgate.policy.hazard import ERROR, INFO, WARNING, Hazard
from lockgate.policy.model.spelling import in_words, qualified, quote
from lockgate.policy.registry import rule
from lockgate.policy.subject import Hit, Subject
from lockgate.postgres.tree import words as w

_SETUP = """CREATE TABLE orders (id bigint PRIMARY KEY, code text);
CREATE FUNCTION short(code text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower(code)';"""
_BODY = """CREATE FUNCTION count_of(what text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
  EXECUTE {} INTO n;
  RETURN n;
END $$;"""
_ROUTINES = ("function", "procedure", "routine", "aggregate")

_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_EXECUTE = re.compile(
    r"\bexecute\s+(?!function\b|procedure\b|on\b)((?:'(?:[^']|'')*'|[^;'])*)", re.IGNORECASE
)
# What quotes its values; a format() with %s is looked for apart.
_SAFE = re.compile(
    r"\b(?:quote_(?:ident|literal|nullable)|format)\s*\([^()]*(?:\([^()]*\)[^()]*)*\)|[a-z_\"][\w.\"]*::regclass",
    re.IGNORECASE,
)
_USING = re.compile(r"\busing\b", re.IGNORECASE)
_TEXT = re.compile(r"'(?:[^']|'')*'")
_RAW_FORMAT = re.compile(r"\bformat\s*\(\s*[eE]?'(?:[^']|'')*%(?:\d+\$)?-?\d*s", re.IGNORECASE)
_NAME = re.compile(r"\|\|\s*(?!')[a-z_\"]|[a-z_\"\)\]]\s*\|\|", re.IGNORECASE)


@rule(
    Hazard(
        id="function-replace",
        name="Function replaced or dropped",
        detects="CREATE OR REPLACE or DROP of a function or procedure that an earlier file created.",
        effect="The old release, which knows only the old arguments and result, calls the new body or finds none.",
        contract_severity=INFO,
        workaround="A new function under a new name; the old one is dropped when no release calls it.",
        destructive=True,
        source="Field practice with views, routines and triggers",
        setup=_SETUP,
        bad="DROP FUNCTION short(text);",
        good="CREATE FUNCTION short_2(code text, size integer) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT left(code, size)';",
    ),
    on=(w.CreateFunction, w.Drop),
)
def replaced(subject: Subject) -> Iterator[Hit]:
    """Gone is an error; another body is told, and is worse where an index holds the old results."""
    word, schema = subject.statement, subject.schema
    if isinstance(word, w.Drop):
        for name in word.names if word.kind in _ROUTINES else ():
            key = schema.type_key(name.schema, name.name)
            if not _made_here(subject, key, replaced=True) and not (
                word.if_exists and key not in schema.functions
            ):
                yield Hit(
                    f"whoever still calls {key} fails",
                    f"-- lockgate: phase=contract\nDROP {word.kind.upper()} {in_words(name, key)};",
                )
        return
    assert isinstance(word, w.CreateFunction)
    key = schema.type_key(word.name.schema, word.name.name)
    if not word.replace or key not in schema.functions or _made_here(subject, key):
        return
    called = f'"sval":"{word.name.name}"'
    held = [index.key for index in schema.indexes.values() if any(called in shape for shape in index.shapes)]
    if held:
        yield Hit(
            f"what the old {key} returned stays in {', '.join(held)}: queries that use it may miss rows",
            "\n".join(f"REINDEX INDEX CONCURRENTLY {index};" for index in held),
            severity=WARNING,
        )
    else:
        yield Hit(f"whoever calls {key} runs the new body from now on", severity=INFO)


def _made_here(subject: Subject, key: str, *, replaced: bool = False) -> bool:
    """Whether this file created the function; ``replaced``: or may have, with OR REPLACE."""
    made = [judged.statement for judged in subject.earlier()]
    return any(
        isinstance(word, w.CreateFunction)
        and (replaced or not word.replace)
        and subject.schema.type_key(word.name.schema, word.name.name) == key
        for word in made
    )


@rule(
    Hazard(
        id="function-definer-path",
        name="SECURITY DEFINER without a search path",
        detects="A SECURITY DEFINER function that does not SET search_path.",
        effect="Whoever may create an object in a schema of the caller's search path, pg_temp included, runs code as the owner.",
        workaround="SET search_path = pg_catalog, pg_temp on the function, and qualified names in its body.",
        source="PostgreSQL documentation, CREATE FUNCTION, Writing SECURITY DEFINER Functions Safely",
        setup=_SETUP,
        bad="CREATE FUNCTION count_orders() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM orders';",
        good="CREATE FUNCTION count_orders() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp "
        "AS 'SELECT count(*) FROM public.orders';",
    ),
    on=w.CreateFunction,
)
def definer_path(subject: Subject) -> Iterator[Hit]:
    """The one combination that hands rights to strangers."""
    word = subject.statement
    assert isinstance(word, w.CreateFunction)
    # A body that was parsed when it was made (BEGIN ATOMIC) looks nothing up by name any more.
    if word.definer and not word.sets_search_path and (word.body or word.language != "sql"):
        kind = "PROCEDURE" if word.procedure else "FUNCTION"
        yield Hit(
            f"{word.name.name} runs with its owner's rights and finds names by the caller's search path",
            f"ALTER {kind} {qualified(word.name)} SET search_path = pg_catalog, pg_temp;",
        )


@rule(
    Hazard(
        id="dynamic-sql",
        name="SQL built from text",
        detects="EXECUTE in a function or DO block of a string that is put together with || or %s.",
        effect="A value with a quote in it becomes SQL, and no check can read what will run.",
        severity=WARNING,
        workaround="format() with %I and %L, and USING for values.",
        source="PostgreSQL documentation, PL/pgSQL, Executing Dynamic Commands",
        setup=_SETUP,
        bad=_BODY.format("'SELECT count(*) FROM ' || what"),
        good=_BODY.format("format('SELECT count(*) FROM %I', what)"),
    ),
    on=(w.CreateFunction, w.DoBlock),
)
def dynamic_sql(subject: Subject) -> Iterator[Hit]:
    """Raw pieces in the string of an EXECUTE."""
    word = subject.statement
    assert isinstance(word, w.CreateFunction | w.DoBlock)
    if word.language != "plpgsql" or "execute" not in word.body.lower():
        return
    for match in _EXECUTE.finditer(_COMMENT.sub(" ", word.body)):
        command = match[1]
        glue = _USING.split(_SAFE.sub("''", _TEXT.sub("''", command)))[0]
        if _NAME.search(glue) or _RAW_FORMAT.search(command):
            where = word.name.name if isinstance(word, w.CreateFunction) else "the DO block"
            yield Hit(
                f"{where} runs a string that is put together from raw text: EXECUTE {' '.join(command.split())[:60]}"
            )
            return


@rule(
    Hazard(
        id="extension-change",
        name="Extension made, updated or dropped",
        detects="CREATE EXTENSION without a version, ALTER EXTENSION … UPDATE, DROP EXTENSION.",
        effect="What gets installed depends on the server; an update runs a script whose locks cannot be read from the file; mostly only a superuser may.",
        severity=WARNING,
        workaround="Pin VERSION and SCHEMA, and change extensions apart from the schema.",
        source="PostgreSQL documentation, CREATE EXTENSION",
        bad="CREATE EXTENSION IF NOT EXISTS plpgsql;",
        good="CREATE EXTENSION IF NOT EXISTS plpgsql SCHEMA pg_catalog VERSION '1.0';",
    ),
    on=(w.CreateExtension, w.Drop),
)
def extension_change(subject: Subject) -> Iterator[Hit]:
    """A new one is told; an update or a drop is a risk."""
    word = subject.statement
    if isinstance(word, w.Drop):
        for name in word.names if word.kind == "extension" else ():
            what = "and whatever depends on it " if word.cascade else ""
            yield Hit(
                f"the types, functions and operators of {name.name} {what}are gone",
                severity=ERROR if word.cascade else "",
            )
        return
    assert isinstance(word, w.CreateExtension)
    if not word.create:
        to = f"to {word.version} " if word.version else ""
        yield Hit(f"an update of {word.name} {to}runs a script whose locks nobody can read here")
    elif not word.version:
        yield Hit(
            f"which version of {word.name} is installed depends on the server",
            f"CREATE EXTENSION IF NOT EXISTS {quote(word.name)} SCHEMA {quote(word.schema) if word.schema else '…'} VERSION '…';",
            severity=INFO,
        )
