"""Functions that a query is sure to call, whatever rows its tables hold."""

from collections.abc import Iterator
from typing import Any

from lockgate.postgres.tree.conditions import strings

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


def called(node: Node) -> str:
    """The name in a call, as ``Query.functions`` has it."""
    parts = strings(node.get("funcname", []))
    return ".".join(parts[1:] if parts[:1] == ["pg_catalog"] else parts)


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
    for row in node.get("valuesLists", ()):
        for value in row["List"].get("items", ()):
            yield from _expression(value)
    tables = node.get("fromClause", [])
    if len(tables) == 1:
        yield from _table(tables[0])
    elif not tables and "whereClause" not in node:
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
            yield from _expression(value.get("args", []))
        elif kind in ("CoalesceExpr", "BoolExpr"):
            yield from _expression(value.get("args", [])[:1])
        elif kind == "CaseExpr":
            first = value.get("args", [{}])[0].get("CaseWhen", {}).get("expr")
            yield from _expression(value.get("arg", first))
        elif kind == "SubLink":
            if value.get("subLinkType") in ("EXPR_SUBLINK", "ARRAY_SUBLINK"):
                yield from sure_calls(value.get("subselect"))
        elif kind not in ("SelectStmt", "ColumnRef", "TypeName"):
            yield from _expression(value)
