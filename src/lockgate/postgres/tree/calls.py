"""Functions that a query is sure to call, whatever rows its tables hold."""

from collections.abc import Iterator
from typing import Any

from lockgate.postgres.tree.constants import strings
from lockgate.postgres.tree.lexing import dotted

Node = dict[str, Any]


def sure_calls(node: Any) -> tuple[str, ...]:
    """The names of what the statement in ``node`` calls once or more, in order."""
    found: dict[str, None] = {}
    for kind, body in node.items() if isinstance(node, dict) else ():
        if kind == "SelectStmt":
            found |= dict.fromkeys(_select(body))
        elif kind == "InsertStmt" and "selectStmt" in body:
            found |= dict.fromkeys(_select(body["selectStmt"].get("SelectStmt", {})))
        elif kind == "CallStmt":
            found |= dict.fromkeys(_expression(body["funccall"].get("args", [])))
    return tuple(found)


def sure_in(node: Any) -> tuple[str, ...]:
    """The names of what working out the expression in ``node`` calls, in order."""
    return tuple(dict.fromkeys(_expression(node)))


def called(node: Node) -> str:
    """The name in a call, as ``Query.functions`` has it."""
    parts = strings(node.get("funcname", []))
    return dotted(*(parts[1:] if parts[:1] == ["pg_catalog"] else parts))


def _select(node: Node) -> Iterator[str]:
    for item in node.get("withClause", {}).get("ctes", ()):
        # A query of WITH runs when the query around it asks for it; only the plainest form is sure to.
        inner = item["CommonTableExpr"]
        if [table.get("RangeVar", {}).get("relname") for table in node.get("fromClause", ())] == [
            inner["ctename"]
        ]:
            yield from sure_calls(inner.get("ctequery"))
    if "larg" in node:
        yield from _select(node["larg"])
        yield from _select(node["rarg"])
        return
    if "limitCount" in node or "limitOffset" in node or "whereClause" in node or "havingClause" in node:
        return  # none of its rows may be asked for
    for row in node.get("valuesLists", ()):
        for value in row["List"].get("items", ()):
            yield from _expression(value)
    tables = node.get("fromClause", [])
    if len(tables) == 1:
        yield from _table(tables[0])
    elif not tables:
        for item in node.get("targetList", ()):
            yield from _expression(item["ResTarget"].get("val"))


def _table(item: Node) -> Iterator[str]:
    if "RangeFunction" in item:
        for function in item["RangeFunction"].get("functions", ()):
            yield from _expression(function["List"].get("items", [None])[0])
    elif "RangeSubselect" in item:
        yield from sure_calls(item["RangeSubselect"].get("subquery"))


def _expression(node: Any) -> Iterator[str]:
    """What working out a value calls; of what is tried in turn only the first."""
    if isinstance(node, list):
        for item in node:
            yield from _expression(item)
        return
    if not isinstance(node, dict):
        return
    for kind, value in node.items():
        if kind == "FuncCall":
            yield called(value)
            if not _null(value):
                yield from _expression(value.get("args", []))
        elif kind == "A_Expr" and _null(value):
            continue  # NULL makes most of them NULL, and nothing else is worked out
        elif kind == "BoolExpr":
            # One FALSE or TRUE among the others may settle it beforehand.
            yield from _expression(value.get("args", []) if value.get("boolop") == "NOT_EXPR" else [])
        elif kind == "CoalesceExpr":
            yield from _expression(value.get("args", [])[:1])
        elif kind == "CaseExpr":
            first = value.get("args", [{}])[0].get("CaseWhen", {}).get("expr")
            yield from _expression(value.get("arg", first))
        elif kind == "SubLink":
            if value.get("subLinkType") in ("EXPR_SUBLINK", "ARRAY_SUBLINK"):
                yield from sure_calls(value.get("subselect"))
        elif kind not in ("SelectStmt", "ColumnRef", "TypeName"):
            yield from _expression(value)


def _null(node: Node) -> bool:
    return "'isnull': True" in repr(node)
