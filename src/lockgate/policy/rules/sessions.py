"""Hazards of family H: settings, and what they do to names."""

from collections.abc import Iterator

from lockgate.policy.hazard import WARNING, Hazard
from lockgate.policy.model.spelling import quote
from lockgate.policy.registry import rule
from lockgate.policy.subject import Hit, Subject
from lockgate.postgres.tree import words as w

_SETUP = "CREATE TABLE orders (id bigint PRIMARY KEY, qty integer);"
_BUILD = "CREATE INDEX CONCURRENTLY orders_qty ON orders (qty);"


@rule(
    Hazard(
        id="tx-set-leak",
        name="SET LOCAL without a transaction",
        detects="SET LOCAL in a file with `-- lockgate: transaction=off`.",
        effect="Each statement is on its own there: the setting is gone before the next one starts.",
        severity=WARNING,
        workaround="A directive in the head of the file (`-- lockgate: lock_timeout=…`), or SET without LOCAL: lockgate resets the session after the file.",
        source="PostgreSQL documentation, SET",
        setup=_SETUP,
        bad=f"-- lockgate: transaction=off\nSET LOCAL maintenance_work_mem = '64MB';\n{_BUILD}",
        good=f"-- lockgate: transaction=off\nSET maintenance_work_mem = '64MB';\n{_BUILD}",
    ),
    on=w.SetVariable,
)
def set_local(subject: Subject) -> Iterator[Hit]:
    """It ends with its own statement."""
    word = subject.statement
    assert isinstance(word, w.SetVariable)
    if word.local and not subject.file.transactional:
        values = ", ".join(f"'{value}'" for value in word.values) or "DEFAULT"
        yield Hit(f"SET LOCAL {word.name} has no effect on what follows", f"SET {word.name} = {values};")


_CATALOGUES = frozenset({"pg_catalog", "pg_temp", "$user", "information_schema", "public", ""})


@rule(
    Hazard(
        id="tx-search-path",
        name="Schema that nothing creates",
        detects="SET search_path to, or CREATE in, a schema that no earlier statement and no snapshot knows.",
        effect="On search_path it is passed over in silence, and what is created lands in the next schema; in a name it is an error.",
        severity=WARNING,
        workaround="CREATE SCHEMA in an earlier file, and qualified names instead of a search_path.",
        source="PostgreSQL documentation, The Schema Search Path",
        setup="CREATE SCHEMA IF NOT EXISTS billing;",
        bad="SET LOCAL search_path = biling, public;\nCREATE TABLE notes (id bigint PRIMARY KEY);",
        good="CREATE TABLE billing.notes (id bigint PRIMARY KEY);",
    ),
    on=(
        w.SetVariable,
        w.CreateTable,
        w.CreateTableAs,
        w.CreateView,
        w.CreateSequence,
        w.CreateType,
        w.SetSchema,
    ),
)
def search_path(subject: Subject) -> Iterator[Hit]:
    """Each schema named, against those known."""
    word = subject.statement
    if isinstance(word, w.SetVariable):
        if word.name.lower() != "search_path":
            return
        named = [part.strip().strip('"') for value in word.values for part in value.split(",")]
    elif isinstance(word, w.SetSchema):
        named = [word.schema]
    else:
        assert isinstance(
            word, w.CreateTable | w.CreateTableAs | w.CreateView | w.CreateSequence | w.CreateType
        )
        named = [word.name.schema]
    for name in named:
        if name not in subject.schema.schemas and name not in _CATALOGUES and not name.startswith("pg_"):
            yield Hit(f"no earlier file creates the schema {quote(name)}", f"CREATE SCHEMA {quote(name)};")
