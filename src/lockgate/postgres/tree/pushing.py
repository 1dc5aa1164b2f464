"""Conditions on what a query gives out, as its own tables see them: the planner pushes them into subqueries and views."""

from typing import Any

from lockgate.postgres.tree.constants import strings
from lockgate.postgres.tree.shapes import Condition, Either, Test

Tree = dict[str, Any]
Outputs = tuple[tuple[str, str], ...]
"""(name outside, column inside); ("*", "*") where a star hands everything on."""


def alias_of(table: Tree) -> str:
    """What the query calls a table of FROM."""
    return str(table.get("alias", {}).get("aliasname", table.get("relname", "")))


def names_below(item: Tree) -> list[str]:
    """What the query calls the tables of one item of FROM."""
    if "RangeVar" in item or "RangeSubselect" in item:
        return [alias_of(item.get("RangeVar") or item["RangeSubselect"])]
    join = item.get("JoinExpr", {})
    return [*names_below(join["larg"]), *names_below(join["rarg"])] if join else []


def outputs_of(select: Tree, alias: str) -> Outputs:
    """The outputs that are plain columns of ``alias`` and may be asked for inside, too."""
    if any(key in select for key in ("limitCount", "limitOffset", "windowClause", "larg")):
        return ()
    distinct = select.get("distinctClause")
    if distinct and distinct != [{}]:
        return ()
    # Groups and partitions of window functions stay whole when their own columns are asked for.
    grouped = [_column(item) for item in select.get("groupClause", ())]
    for window in _windows(select.get("targetList", [])):
        parts = [_column(item) for item in window.get("partitionClause", ())]
        if not any(parts) or "name" in window or "refname" in window:
            return ()
        grouped = [at for at in parts if at in grouped] if grouped else parts
    found: list[tuple[str, str]] = []
    for item in select.get("targetList", ()):
        target = item["ResTarget"]
        column = _column(target.get("val"))
        if column is None or column[0] not in ("", alias):
            continue
        inside = [at[1] for at in grouped if at]
        if column[1] == "*":
            found += [(name, name) for name in inside] or [("*", "*")]
        elif not grouped or column[1] in inside:
            found.append((target.get("name", column[1]), column[1]))
    return tuple(found)


def arm(first: Tree, other: Tree, conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """Conditions on a UNION, by the names of its first arm, as those of another arm."""
    names = [_named(item) for item in first.get("targetList", ())]
    others = [_named(item) for item in other.get("targetList", ())]
    if "*" in names or "*" in others or len(names) != len(others):
        return conditions if names == others == ["*"] else ()
    return translated(conditions, tuple(zip(names, others, strict=True)))


def arm_outputs(first: Tree, other: Tree, outputs: Outputs) -> Outputs:
    """What is handed on of another arm."""
    names = [_named(item) for item in first.get("targetList", ())]
    others = [_named(item) for item in other.get("targetList", ())]
    if "*" in names or "*" in others or len(names) != len(others):
        return outputs if names == others == ["*"] else ()
    return through(outputs, tuple(zip(names, others, strict=True)))


def translated(conditions: tuple[Condition, ...], outputs: Outputs) -> tuple[Condition, ...]:
    """The conditions by the names inside; what is not one of the outputs is left out."""
    known = dict(outputs)
    found = [_condition(condition, known) for condition in lasting(conditions)] if known else []
    return tuple([condition for condition in found if condition is not None])


def lasting(conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """What reaches the tables of a query inside another: of a condition that is never true, nothing does."""
    return () if Either(()) in conditions else conditions


def agreed(conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """Of values that one column of a join equals at once, the planner asks one alone: any of them may be left."""
    equal: dict[str, list[Test]] = {}
    for condition in conditions:
        single = isinstance(condition, Test) and condition.op == "=" and len(condition.values) == 1
        if isinstance(condition, Test) and single and condition.values != ("?",):
            equal.setdefault(condition.column, []).append(condition)
    found = conditions
    for column, tests in equal.items():
        if len({test.values for test in tests}) > 1:
            found = tuple([condition for condition in found if condition not in tests])
            if len({test.cast for test in tests}) == 1:
                values = tuple(dict.fromkeys([test.values[0] for test in tests]))
                found = (*found, Test(column, "=", values, tests[0].cast))
    return found


def pushed(conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """Conditions that may reach an arm of UNION ALL: there the planner does not ask whether a column can be NULL at all."""
    return tuple([
        Test(at.column, "null", ("pushed",)) if isinstance(at, Test) and at.op == "null" else at
        for at in conditions
    ])  # fmt: skip


def shown_as(select: Tree, aliases: tuple[str, ...]) -> Outputs:
    """All outputs of a view, under the names that it gives them."""
    if not aliases:
        return (("*", "*"),)
    names = [_named(item) for item in select.get("targetList", ())]
    return () if "*" in names else tuple(zip(aliases, names, strict=False))


def through(outer: Outputs, inner: Outputs) -> Outputs:
    """Outputs of a query inside a query: what the outer one hands on of what the inner one does."""
    if ("*", "*") in outer:
        return inner
    known = dict(inner)
    star = known.pop("*", None)
    return tuple(
        [(name, known.get(column, column)) for name, column in outer if column in known or star is not None]
    )


def _condition(condition: Condition, known: dict[str, str]) -> Condition | None:
    if isinstance(condition, Test):
        column = known.get(condition.column) or (condition.column if "*" in known else None)
        return Test(column, condition.op, condition.values, condition.cast) if column else None
    arms = []
    for part in condition.parts:
        tests = [_condition(test, known) for test in part]
        inside = tuple([test for test in tests if test is not None])
        if not inside:
            return None
        arms.append(inside)
    return Either(tuple(arms))


def _windows(node: Any) -> list[Tree]:
    if isinstance(node, list):
        return [found for item in node for found in _windows(item)]
    if not isinstance(node, dict):
        return []
    own = [node["over"]] if isinstance(node.get("over"), dict) else []
    return own + [found for value in node.values() for found in _windows(value)]


def _column(node: Any) -> tuple[str, str] | None:
    fields = node["ColumnRef"].get("fields", []) if isinstance(node, dict) and "ColumnRef" in node else []
    names = strings(fields)
    if fields and "A_Star" in fields[-1]:
        return (names[-1] if names else "", "*")
    return (names[-2] if len(names) > 1 else "", names[-1]) if names else None


def plain_outputs(node: Any) -> tuple[str, ...]:
    """Of each output of a query the column that it hands on, "" where it is worked out."""
    select = node.get("SelectStmt", {}) if isinstance(node, dict) else {}
    while "larg" in select:
        select = select["larg"]
    columns = [_column(item["ResTarget"].get("val")) for item in select.get("targetList", ())]
    return tuple([column[1] if column else "" for column in columns])


def _named(item: Tree) -> str:
    target = item["ResTarget"]
    column = _column(target.get("val"))
    return str(target.get("name", column[1] if column else "?"))
