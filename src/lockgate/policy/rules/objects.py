"""Hazards of family F: views, functions, triggers, policies."""

from collections.abc import Iterator

from lockgate.policy.hazard import WARNING, Hazard
from lockgate.policy.registry import rule
from lockgate.policy.subject import Hit, Subject
from lockgate.postgres.tree import words as w

_VIEW = """CREATE TABLE orders (id bigint PRIMARY KEY, qty integer);
CREATE MATERIALIZED VIEW totals AS SELECT id, qty FROM orders;
CREATE UNIQUE INDEX totals_id ON totals (id);"""
_TRIGGER = """CREATE TABLE orders (id bigint PRIMARY KEY, qty integer);
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';"""


@rule(
    Hazard(
        id="matview-refresh",
        name="Materialized view refreshed in place",
        detects="REFRESH MATERIALIZED VIEW without CONCURRENTLY.",
        effect="Every reader of the view waits until its query has run to the end.",
        lock="AccessExclusiveLock",
        severity=WARNING,
        by_size=True,
        workaround="REFRESH MATERIALIZED VIEW CONCURRENTLY, which needs a unique index.",
        source="PostgreSQL documentation, REFRESH MATERIALIZED VIEW; observed",
        setup=_VIEW,
        bad="REFRESH MATERIALIZED VIEW totals;",
        good="REFRESH MATERIALIZED VIEW CONCURRENTLY totals;",
    ),
    on=w.Refresh,
)
def matview_refresh(subject: Subject) -> Iterator[Hit]:
    """The plain form on a view of an earlier file."""
    word = subject.statement
    assert isinstance(word, w.Refresh)
    if not word.concurrently and not subject.new:
        yield Hit(
            f"readers of {subject.key} wait until it is filled again",
            f"REFRESH MATERIALIZED VIEW CONCURRENTLY {subject.sql};",
            subject.key,
        )


@rule(
    Hazard(
        id="trigger-create",
        name="Trigger on a live table",
        detects="CREATE TRIGGER on a table that an earlier file created.",
        effect="Writes to the table wait for it, and it waits for them; then every write runs the trigger.",
        lock="ShareRowExclusiveLock",
        severity=WARNING,
        workaround="A file of its own, so that the lock is held for a moment only.",
        source="observed",
        setup=_TRIGGER,
        bad="CREATE TRIGGER orders_noted AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION noted();",
        good="COMMENT ON TABLE orders IS 'one row an order';",
    ),
    on=w.CreateTrigger,
)
def trigger_create(subject: Subject) -> Iterator[Hit]:
    """A trigger on a table of an earlier file."""
    if not subject.new:
        yield Hit(f"writes to {subject.key} wait for it", relation=subject.key)


@rule(
    Hazard(
        id="do-block-hidden-ddl",
        name="Code that hides what it does",
        detects="DO or CALL; a function or trigger that runs with a statement and whose body no file has, or whose locks hang on rows, on a branch or on SQL that is put together, or that changes the schema.",
        effect="Who reads the file does not see what is done; what is sure to run inside is among the locks of the statement, and the rest cannot be read from the files.",
        severity=WARNING,
        workaround="Plain statements.",
        by_target=True,
        source="Field practice with views, routines and triggers",
        setup=_TRIGGER,
        bad="DO $$ BEGIN ALTER TABLE orders ADD COLUMN hidden text; END $$;",
        good="ALTER TABLE orders ADD COLUMN shown text;",
    ),
    on=(w.DoBlock, w.Call, w.Dml, w.CreateTableAs, w.Refresh, w.AlterTable, w.Truncate),
)
def hidden(subject: Subject) -> Iterator[Hit]:
    """DO and CALL, where DDL in the body makes it an error; whatever else may lock more than it claims."""
    word, changes = subject.statement, subject.facts.changes
    if not isinstance(word, w.DoBlock | w.Call):
        for found in subject.facts.hidden:
            severity = "info" if found.slight else ""
            yield Hit(f"its locks are not all known: {found.why}", severity=severity)
        for where in dict.fromkeys(change.where for change in changes if change.certain):
            kinds = dict.fromkeys(change.what for change in changes if change.where == where)
            yield Hit(f"{where} runs {', '.join(kinds)}, which the file does not show", severity="error")
        return
    body = " ".join(word.body.lower().split()) if isinstance(word, w.DoBlock) else ""
    ddl = bool(changes) or any(
        verb in body
        for verb in ("alter table", "create table", "create index", "drop ", "truncate", "execute ")
    )
    unknown = "".join(f"; {found.why}" for found in subject.facts.hidden)
    read = not ddl and all(found.slight for found in subject.facts.hidden)
    yield Hit(
        f"{subject.facts.kind} {'is read and claimed' if read else 'hides DDL' if ddl else 'hides what it does'}{unknown}",
        severity="error" if ddl else "info" if read else "",
    )
