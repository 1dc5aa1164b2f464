"""Hazards of family F: views, materialized views, rules."""

from collections.abc import Iterator

from lockgate.policy.hazard import ERROR, INFO, WARNING, Hazard
from lockgate.policy.judging import Tree
from lockgate.policy.model.names import bare, joined
from lockgate.policy.model.spelling import beside, in_words, qualified, spelled
from lockgate.policy.registry import rule
from lockgate.policy.rules.tables_design import largest, sources_of
from lockgate.policy.subject import Hit, Subject
from lockgate.postgres.tree import words as w

_SETUP = (
    "CREATE TABLE orders (id bigint PRIMARY KEY, qty integer);\n"
    "CREATE VIEW order_list AS SELECT id FROM orders;"
)
_AX = "AccessExclusiveLock"
_KINDS = {"view": "VIEW", "matview": "MATERIALIZED VIEW"}


@rule(
    Hazard(
        id="view-replace",
        name="View replaced in place",
        detects="CREATE OR REPLACE VIEW of a view that an earlier file created.",
        effect="Queries on the view wait for a moment and then get the new columns; columns cannot be taken away or renamed this way.",
        lock=_AX,
        severity=INFO,
        workaround="A new view under a new name, and the old one dropped when nobody uses it.",
        source="PostgreSQL documentation, CREATE VIEW; observed",
        setup=_SETUP,
        bad="CREATE OR REPLACE VIEW order_list AS SELECT id, qty FROM orders;",
        good="CREATE VIEW order_list_2 AS SELECT id, qty FROM orders;",
    ),
    on=w.CreateView,
)
def replace(subject: Subject) -> Iterator[Hit]:
    """The server only lets columns be added at the end."""
    word, state = subject.statement, subject.table
    assert isinstance(word, w.CreateView)
    if not word.replace or state is None or state.kind != "v" or subject.new:
        return
    before, after = list(state.columns), word.query.columns
    if before and after is not None and list(after[: len(before)]) != before:
        yield Hit(
            f"the server refuses it: {subject.key} has the columns {', '.join(before)}, and these must stay, "
            "in that order",
            f"CREATE VIEW {beside(subject.key, joined(bare(subject.key), '', '2'))} AS …;",
            severity=ERROR,
        )
    else:
        yield Hit(f"queries on {subject.key} wait for it, and get the new definition at once")


@rule(
    Hazard(
        id="view-drop",
        name="View dropped",
        detects="DROP VIEW or DROP MATERIALIZED VIEW of one that an earlier file created.",
        effect="Whoever still uses it fails.",
        lock=f"{_AX} on the view",
        contract_severity=INFO,
        workaround="Stop using it in one release, drop it with the next, in a file with `-- lockgate: phase=contract`.",
        destructive=True,
        source="Field practice with views, routines and triggers",
        setup=_SETUP,
        bad="DROP VIEW order_list;",
        good="CREATE VIEW order_list_2 AS SELECT id, qty FROM orders;",
    ),
    scope="file",
)
def drop(tree: Tree) -> Iterator[Hit]:
    """A view that goes; one that comes back in the same transaction is only locked."""
    for file in tree.files:
        made: set[str] = set()
        for position, judged in enumerate(file.judged):
            word = judged.statement
            made |= _makes(tree, word)
            if not isinstance(word, w.Drop) or word.kind not in _KINDS:
                continue
            later: set[str] = set()
            for other in file.judged[position + 1 :]:
                later |= _makes(tree, other.statement)
            for name in word.names:
                key = tree.schema.resolve(name)
                if key in made or (word.if_exists and key in judged.facts.unknown):
                    continue
                if key in later and file.transactional:
                    yield Hit(
                        f"{key} is locked until the end of the file and loses its privileges",
                        f"CREATE OR REPLACE VIEW {spelled(key)} AS …;" if word.kind == "view" else "",
                        severity=WARNING,
                        line=judged.line,
                    )
                    continue
                yield Hit(
                    f"whoever still uses {key} fails",
                    f"-- lockgate: phase=contract\nDROP {_KINDS[word.kind]} {in_words(name, key)};",
                    line=judged.line,
                )


def _makes(tree: Tree, word: w.Statement) -> set[str]:
    if isinstance(word, w.CreateView) or (isinstance(word, w.CreateTableAs) and word.materialized):
        return {tree.schema.resolve(word.name)}
    return set()


@rule(
    Hazard(
        id="matview-with-data",
        name="Materialized view filled by the migration",
        detects="CREATE MATERIALIZED VIEW … WITH DATA over a table of an earlier file.",
        effect="Its query runs to the end in the migration's transaction: the snapshot holds back vacuum, and every lock of the file waits with it.",
        severity=WARNING,
        by_size=True,
        workaround="WITH NO DATA, and REFRESH MATERIALIZED VIEW after the migration, before anyone reads it.",
        source="PostgreSQL documentation, CREATE MATERIALIZED VIEW",
        setup=_SETUP,
        bad="CREATE MATERIALIZED VIEW totals AS SELECT id, qty FROM orders;",
        good="CREATE MATERIALIZED VIEW totals AS SELECT id, qty FROM orders WITH NO DATA;",
    ),
    on=w.CreateTableAs,
)
def filled(subject: Subject) -> Iterator[Hit]:
    """WITH DATA is what happens when nothing is said."""
    word = subject.statement
    assert isinstance(word, w.CreateTableAs)
    if not word.materialized or not word.with_data:
        return
    sources = [key for key in sources_of(subject, word.query) if not subject.is_new(key)]
    if sources:
        yield Hit(
            f"this file's transaction lasts until all is read: {', '.join(sources)}",
            f"CREATE MATERIALIZED VIEW {qualified(word.name)} AS … WITH NO DATA;\n"
            f"-- after the migration:\nREFRESH MATERIALIZED VIEW {qualified(word.name)};",
            largest(subject, sources),
        )


@rule(
    Hazard(
        id="rule-create",
        name="Rewrite rule",
        detects="CREATE RULE.",
        effect="All access to the table waits for it; then each statement on it is rewritten, with arguments evaluated more than once.",
        lock=_AX,
        severity=WARNING,
        workaround="A trigger, or a view that the server can write through.",
        source="PostgreSQL documentation, Rules Versus Triggers; observed",
        setup=_SETUP,
        bad="CREATE RULE keep AS ON DELETE TO orders DO INSTEAD NOTHING;",
        good="COMMENT ON TABLE orders IS 'rows are kept';",
    ),
    on=w.CreateRule,
)
def create_rule(subject: Subject) -> Iterator[Hit]:
    """A rule, on a live table or on one that nobody uses yet."""
    word = subject.statement
    assert isinstance(word, w.CreateRule)
    if subject.new:
        yield Hit(f"every statement on {subject.key} is rewritten by rule {word.name}", severity=INFO)
    else:
        yield Hit(f"all access to {subject.key} waits for it, and is rewritten by rule {word.name} after")
