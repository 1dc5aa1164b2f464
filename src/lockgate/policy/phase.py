"""Which phase a statement belongs to: expand lets the old release live on, contract takes something from it."""

from lockgate.policy.facts import Facts
from lockgate.policy.model.schema import Schema
from lockgate.policy.model.types import rewrites
from lockgate.postgres.tree import words as w

EXPAND, CONTRACT = "expand", "contract"
DIRECTIVE = f"-- lockgate: phase={CONTRACT}\n"
"""What the fix of a statement that belongs into a contract file begins with."""

_DROPS = {
    "table",
    "view",
    "matview",
    "sequence",
    "type",
    "domain",
    "schema",
    "function",
    "procedure",
    "foreign_table",
    "owned",
    "aggregate",
    "routine",
    "operator",
    "cast",
    "collation",
}
_RENAMES = {
    "table",
    "view",
    "matview",
    "column",
    "type",
    "schema",
    "sequence",
    "attribute",
    "function",
    "domain",
    "procedure",
    "routine",
    "aggregate",
    "foreign_table",
    "collation",
}


def takes_away(statement: w.Statement, facts: Facts, schema: Schema, file: int) -> str:
    """What the statement takes from a release that is still running, or "". What this file created is nobody's."""
    if isinstance(statement, w.Drop) and statement.kind in _DROPS:
        keys = [schema.resolve(name) for name in statement.names]
        if any(_old(schema, key, file) for key in keys) or statement.kind not in ("table", "view", "matview"):
            return f"DROP {statement.kind.upper()}"
    elif isinstance(statement, w.Rename) and statement.kind in _RENAMES:
        if _old(schema, schema.resolve(statement.name), file):
            return f"RENAME {statement.kind.upper()}"
    elif isinstance(statement, w.SetSchema) and _old(schema, schema.resolve(statement.name), file):
        return "SET SCHEMA"
    elif isinstance(statement, w.AlterTable) and _old(schema, schema.resolve(statement.name), file):
        for action in statement.actions:
            taken = _action(action, statement, schema)
            if taken:
                return taken
    elif isinstance(statement, w.AlterEnum) and statement.renamed_from:
        return "RENAME VALUE"
    return ""


def _old(schema: Schema, key: str, file: int) -> bool:
    state = schema.relations.get(key)
    return state is None or state.created_file != file


def _action(action: w.Action, statement: w.AlterTable, schema: Schema) -> str:
    if isinstance(action, w.DropColumn):
        return f"DROP COLUMN {action.column}"
    if isinstance(action, w.SetNotNull):
        state = schema.get(statement.name)
        if state is None or not schema.proves_not_null(state, action.column):
            return f"SET NOT NULL {action.column} without proof"
    if isinstance(action, w.AlterType):
        state = schema.get(statement.name)
        column = state.columns.get(action.column) if state is not None else None
        if column is not None and rewrites(schema, column, action):
            return f"TYPE of {action.column}"
    return ""
