"""What INSERT, UPDATE and MERGE put where, as far as it stands there in constants."""

from typing import Any

from lockgate.postgres.tree.conditions import MOST_ROWS
from lockgate.postgres.tree.constants import datum, strings
from lockgate.postgres.tree.shapes import Insert, Name, Put

Tree = dict[str, Any]
DEFAULT = "default"
SAME = "same"
"""A column that is set to itself."""


def insert_of(node: Tree) -> Insert:
    """What an INSERT puts where."""
    relation, select = node["relation"], node.get("selectStmt", {}).get("SelectStmt", {})
    rows = [row["List"].get("items", []) for row in select.get("valuesLists", ())]
    if select and _one_row(select):
        rows = [[item["ResTarget"].get("val", {}) for item in select["targetList"]]]
    return Insert(
        Name(relation.get("schemaname", ""), relation["relname"]),
        values=bool(rows) or "selectStmt" not in node,
        columns=tuple([item["ResTarget"]["name"] for item in node.get("cols", ())]),
        infers="infer" in node.get("onConflictClause", ()),
        arbiter=node.get("onConflictClause", {}).get("infer", {}).get("conname", ""),
        conflicts="onConflictClause" in node,
        own_identity=node.get("override") == "OVERRIDING_USER_VALUE",
        width=max(map(len, rows), default=_width(select)),
        defaults=tuple(
            sorted({at for row in rows for at, value in enumerate(row) if "SetToDefault" in value})
        ),
        rows=tuple([tuple(map(_put, row)) for row in rows]) if len(rows) <= MOST_ROWS else (),
    )


def _put(value: Tree) -> str:
    return DEFAULT if "SetToDefault" in value else datum(value)


def _width(select: Tree) -> int:
    """How many columns a SELECT has, where that can be read; else 0."""
    targets = [item["ResTarget"].get("val", {}) for item in select.get("targetList", ())]
    return 0 if any("A_Star" in repr(value.get("ColumnRef", "")) for value in targets) else len(targets)


def merged(node: Tree) -> tuple[str, ...]:
    """What a MERGE may do to the rows of its target."""
    clauses = [item["MergeWhenClause"] for item in node.get("mergeWhenClauses", ())]
    kinds = [str(clause.get("commandType", "")).removeprefix("CMD_").lower() for clause in clauses]
    return tuple(dict.fromkeys([kind for kind in kinds if kind != "nothing"]))


def puts_of(node: Tree) -> tuple[Put, ...]:
    """The rows that the clauses of a MERGE insert."""
    clauses = [item["MergeWhenClause"] for item in node.get("mergeWhenClauses", ())]
    return tuple([
        (
            tuple([item["ResTarget"]["name"] for item in clause.get("targetList", ())]),
            tuple(map(_put, clause.get("values", ()))),
        )
        for clause in clauses
        if clause.get("commandType") == "CMD_INSERT"
    ])  # fmt: skip


def chooses(node: Tree) -> bool:
    """Whether an UPDATE, DELETE or MERGE says which rows: by a WHERE, or by a join that speaks of a column."""
    return "whereClause" in node or "ColumnRef" in repr(node.get("joinCondition", ""))


def sets_of(node: Tree) -> tuple[tuple[str, str], ...]:
    """What an UPDATE, those of a MERGE, or ON CONFLICT DO UPDATE set: column and constant, or ``SAME``."""
    items = [*node.get("targetList", ())] if "mergeWhenClauses" not in node else []
    for clause in node.get("mergeWhenClauses", ()):
        when = clause["MergeWhenClause"]
        items += when.get("targetList", ()) if when.get("commandType") == "CMD_UPDATE" else ()
    targets = [item["ResTarget"] for item in items]
    table = node.get("relation", {})
    called = table.get("alias", {}).get("aliasname", table.get("relname", ""))
    return tuple([(target["name"], _set(target, called)) for target in targets if "name" in target])


def _set(target: Tree, table: str) -> str:
    value = target.get("val", {})
    names = strings(value.get("ColumnRef", {}).get("fields", []))
    same = names in ([target["name"]], [table, target["name"]])
    return SAME if same else DEFAULT if "SetToDefault" in value else datum(value)


def _one_row(select: Tree) -> bool:
    """SELECT of constants and nothing else is a row of VALUES."""
    plain = {"targetList", "limitOption", "op"}.issuperset(select) and "targetList" in select
    return plain and all(datum(item["ResTarget"].get("val")) != "?" for item in select["targetList"])
