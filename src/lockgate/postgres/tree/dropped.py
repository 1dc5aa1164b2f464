"""Parts of a query that the planner never looks at: WITH that nobody asks for, and what constants decide about."""

from typing import Any

from lockgate.postgres.tree.constants import datum, strings, truth
from lockgate.postgres.tree.pushing import names_below

Tree = dict[str, Any]


def dropped_with(node: Tree) -> set[str]:
    """The queries of WITH that are not planned: no one names them, or the one place that does is dropped itself."""
    items = [item["CommonTableExpr"] for item in node["withClause"].get("ctes", ())]
    texts = {item["ctename"]: repr(item.get("ctequery", {})) for item in items}
    body = repr({key: value for key, value in node.items() if key != "withClause"})
    found: set[str] = set()
    for item in reversed(items):
        name, query = item["ctename"], item.get("ctequery", {})
        if "SelectStmt" not in query:
            continue  # what writes is run in any case
        mark = repr({"relname": name})[1:-1]
        by = {other: text.count(mark) for other, text in texts.items() if other != name and mark in text}
        outside = body.count(mark)
        kept = item.get("ctematerialized") == "CTEMaterializeAlways" or mark in texts[name]
        alone = not kept and sum(by.values()) == 1 and set(by) <= found
        if not outside and (not by or alone):
            found.add(name)
    return found


def dropped_of_condition(node: Tree) -> list[Any]:
    """What AND and OR leave out when one of them is false, or true, for certain."""
    settles = {"AND_EXPR": False, "OR_EXPR": True}.get(node.get("boolop", ""))
    args: list[Any] = node.get("args", [])
    settled = settles is not None and any(_certain(arg) is settles for arg in args)
    return args if settled else []


def dropped_of_coalesce(node: Tree) -> list[Any]:
    """What COALESCE never comes to behind a constant."""
    args: list[Any] = node.get("args", [])
    return args[1:] if args and datum(args[0]) not in ("?", "null") else []


def dropped_of_case(node: Tree) -> list[Any]:
    """The results of CASE that no row can get."""
    found: list[Any] = []
    arms = node.get("args", []) if "arg" not in node else []
    for at, arm in enumerate(arms):
        when = arm["CaseWhen"]
        decided = _certain(when["expr"])
        if decided is False:
            found.append(when.get("result"))
        elif decided is True:
            return [*found, *arms[at + 1 :], node.get("defresult")]
    return found


def _certain(node: Tree) -> bool | None:
    return None if "ColumnRef" in repr(node) else truth(node)


def planned_apart(link: Tree) -> bool:
    """Whether a query in an expression is planned by itself: one for a value is, and EXISTS that asks for nothing around it."""
    kind = link.get("subLinkType")
    if kind != "EXISTS_SUBLINK":
        return kind != "ANY_SUBLINK"
    query = link.get("subselect", {}).get("SelectStmt", {})
    if "larg" in query or "withClause" in query:
        return True
    own = {name for item in query.get("fromClause", ()) for name in names_below(item)}
    asked = [strings(fields) for fields in _columns(query.get("whereClause"))]
    return all(len(names) < 2 or names[-2] in own for names in asked)


def _columns(node: Any) -> list[Any]:
    """The names of all columns below ``node``."""
    if isinstance(node, list):
        return [found for item in node for found in _columns(item)]
    if not isinstance(node, dict):
        return []
    if "ColumnRef" in node:
        return [node["ColumnRef"].get("fields", [])]
    return [found for value in node.values() for found in _columns(value)]
