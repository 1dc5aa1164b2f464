"""What hangs on a column: for a drop the server refuses it, or takes it with CASCADE; for another type it refuses."""

from collections.abc import Iterator

from msgspec import Struct

from lockgate.policy.model.names import bare
from lockgate.policy.model.schema import Constraint, Relation, Schema
from lockgate.policy.model.spelling import quote, spelled
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.bodies import steps_of


class Dependent(Struct, frozen=True):
    """One thing that depends on a column."""

    what: str
    remedy: str


def views_on(schema: Schema, table: Relation, column: str) -> Iterator[tuple[str, bool]]:
    """(view, whether it is sure) of those that use the column; a name that another of its relations has too is not sure."""
    for view in table.dependents:
        state = schema.relations.get(view)
        if state is None or not {column, "*"} & set(state.source_columns):
            continue
        others = [schema.relations.get(key) for key, _ in state.sources if key != table.key]
        yield view, not any(other is None or column in other.columns for other in others)


def dependents_of(schema: Schema, table: Relation, column: str) -> Iterator[Dependent]:
    """Policies, triggers, publications and functions whose bodies the server keeps parsed."""
    yield from _of_table(schema, table, table, column)
    for key in schema.descendants(table.key):
        child = schema.relations.get(key)
        if child is not None:
            yield from _of_table(schema, child, table, column)
    for key, routines in schema.routines.items():
        if any(word.tree and _parsed_body_uses(schema, word, table, column) for word in routines):
            yield Dependent(f"the function {key}()", f"DROP FUNCTION {spelled(key)};")


def _of_table(schema: Schema, table: Relation, root: Relation, column: str) -> Iterator[Dependent]:
    on = spelled(table.key)
    for label, guard in table.guards.items():
        if guard.rule is None and column in guard.columns:
            yield Dependent(f"the {label} of {table.key}", f"DROP POLICY {quote(guard.name)} ON {on};")
    for trigger in table.triggers.values():
        # A partition repeats its parent's.
        if table is not root and trigger.name in root.triggers:
            continue
        if column in trigger.columns or column in trigger.reads:
            yield Dependent(
                f"the trigger {trigger.name} of {table.key}", f"DROP TRIGGER {quote(trigger.name)} ON {on};"
            )
    for name, published in schema.publications.items():
        if column in (*published.reads.get(table.key, ()), *published.tables.get(table.key, ())):
            yield Dependent(
                f"the publication {name}",
                f"ALTER PUBLICATION {quote(name)} DROP TABLE {on};   -- ADD it anew without {quote(column)}",
            )


def _parsed_body_uses(schema: Schema, word: w.Routine, table: Relation, column: str) -> bool:
    if bare(table.key) not in word.tree or column not in word.tree:
        return False
    for step in steps_of(word):
        query = getattr(step.statement, "query", None)
        if not isinstance(query, w.Query):
            continue
        names = [access.name for access in query.accesses]
        target = getattr(step.statement, "target", None)
        names += [target] if isinstance(target, w.Name) else []
        written = (*getattr(step.statement, "columns", ()), *query.column_refs)
        if column in written and any(schema.resolve(name) == table.key for name in names):
            return True
    return False


def checks_lost(schema: Schema, key: str, column: str) -> list[tuple[str, Constraint]]:
    """(table, CHECK) of those that read other columns too and go with the column, unless a newer one is over the others."""
    found = []
    for name in (key, *schema.descendants(key)):
        state = schema.relations.get(name)
        for lost in state.constraints.values() if state is not None else ():
            rest = set(lost.columns) - {column}
            if lost.kind != "check" or not lost.enforced or column not in lost.columns or not rest:
                continue
            if lost.inherited and name != key:
                continue
            newer = (
                other
                for other in (state.constraints.values() if state is not None else ())
                if other.kind == "check" and other.created_file > lost.created_file
            )
            if not any(column not in other.columns and rest <= set(other.columns) for other in newer):
                found.append((name, lost))
    return found
