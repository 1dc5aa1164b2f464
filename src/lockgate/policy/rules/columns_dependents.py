"""Hazards of family B: what goes with a column without a word, and what keeps one from getting another type."""

from collections.abc import Iterator

from lockgate.policy.hazard import WARNING, Hazard
from lockgate.policy.model.dependents import checks_lost, dependents_of, views_on
from lockgate.policy.model.names import joined
from lockgate.policy.model.spelling import quote, spelled
from lockgate.policy.registry import rule
from lockgate.policy.subject import Hit, Subject
from lockgate.postgres.tree import words as w

_AX = "AccessExclusiveLock"
_CONTRACT = "-- lockgate: phase=contract\n"
_SETUP = "CREATE TABLE parts (id bigint PRIMARY KEY, qty integer, note text, code varchar(10));"


@rule(
    Hazard(
        id="col-drop-check-lost",
        name="Column dropped with a CHECK that guards others",
        detects="DROP COLUMN of a column that a CHECK over several columns reads, with no newer CHECK over the others.",
        effect="The server drops the whole CHECK without a word: from then on nothing guards its other columns.",
        lock=_AX,
        severity=WARNING,
        workaround="Add a CHECK on the columns that stay first, NOT VALID, and VALIDATE it in a later file.",
        source="PostgreSQL documentation, ALTER TABLE, DROP COLUMN; observed",
        setup=_SETUP + "\nALTER TABLE parts ADD CONSTRAINT whole CHECK (qty > 0 AND note <> '');",
        bad=_CONTRACT + "ALTER TABLE parts DROP COLUMN note;",
        good=_CONTRACT
        + "ALTER TABLE parts ADD CONSTRAINT qty_positive CHECK (qty > 0) NOT VALID;\nALTER TABLE parts DROP COLUMN note;",
    ),
    on=w.DropColumn,
)
def check_lost(subject: Subject) -> Iterator[Hit]:
    """CHECKs of the table and of its children that read the column beside others."""
    action = subject.action
    assert isinstance(action, w.DropColumn)
    if subject.new or subject.table is None:
        return
    for table, lost in checks_lost(subject.schema, subject.key, action.column):
        rest = [name for name in lost.columns if name != action.column]
        yield Hit(
            f"the CHECK {lost.name} of {table} goes with {action.column}, and guards {', '.join(rest)} no more",
            f"-- before it, the part of {lost.name} about {', '.join(rest)}:\n"
            f"ALTER TABLE {spelled(table)} ADD CONSTRAINT {quote(joined(lost.name, '', 'kept'))} CHECK (…) NOT VALID;",
            table,
        )


@rule(
    Hazard(
        id="col-type-dependents",
        name="Type change of a column that others depend on",
        detects="ALTER COLUMN … TYPE of a column that a view, a generated column, a policy, a trigger (UPDATE OF, WHEN), a publication (list, WHERE) or a function with a parsed body uses.",
        effect="The server refuses it, and the file fails.",
        lock=_AX,
        workaround="Drop the dependent and build it anew in the same file, or add a column of the new type beside this one.",
        source="PostgreSQL source, RememberAllDependentForRebuilding; observed",
        setup=_SETUP + "\nCREATE VIEW part_codes AS SELECT id, code FROM parts;",  # noqa: S608 - an example
        bad="ALTER TABLE parts ALTER COLUMN code TYPE varchar(20);",
        good="DROP VIEW part_codes;\nALTER TABLE parts ALTER COLUMN code TYPE varchar(20);\nCREATE VIEW part_codes AS SELECT id, code FROM parts;",
        unproven="the server refuses the bad example, which is the point",
    ),
    on=w.AlterType,
)
def type_dependents(subject: Subject) -> Iterator[Hit]:
    """The same look-ups as for a drop; here nothing helps but to take the dependent away."""
    action, table = subject.action, subject.table
    assert isinstance(action, w.AlterType)
    if table is None or action.column not in table.columns or table.kind == "c":
        return
    what = f"{subject.key}.{action.column}"
    for view, sure in views_on(subject.schema, table, action.column):
        kind = "MATERIALIZED VIEW" if subject.schema.relations[view].kind == "m" else "VIEW"
        yield Hit(
            f"the view {view} {'uses' if sure else 'may use'} {what}, so the server {'refuses' if sure else 'may refuse'} it",
            f"DROP {kind} {spelled(view)};   -- before it, and CREATE it anew behind",
            severity="" if sure else WARNING,
        )
    for column in table.columns.values():
        if action.column in column.reads:
            yield Hit(f"the generated column {column.name} reads {what}, so the server refuses it")
    for found in dependents_of(subject.schema, table, action.column):
        yield Hit(f"{found.what} uses {what}, so the server refuses it", found.remedy)
