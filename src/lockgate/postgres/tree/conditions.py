"""What a query asks of each table's columns, as far as the planner leaves out partitions by it.

A query's WHERE and the ON of its joins are taken apart at every AND. A part counts for a table when it holds one of
its columns against constants, or when it says so of a column that another part holds equal to it; below an outer
join only what the server pushes down counts.
"""

import re
from collections.abc import Iterator
from typing import Any

from lockgate.postgres.tree.words import Condition, Either, Test

Tree = dict[str, Any]
Column = tuple[str, str]
"""(alias of the table, column); the alias is empty where the text gives none."""

MOST_ROWS = 100
"""Of VALUES, and of a list after IN: more are not looked at one by one."""

_TURNED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_NEGATED = {"=": "<>", "<>": "=", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}


def strings(items: list[Tree]) -> list[str]:
    """The parts of a dotted name."""
    return [item["String"].get("sval", "") for item in items if "String" in item]


_WHOLE = re.compile(r"n:-?\d{1,9}")
BLANK = "⟨blank⟩"
"""What stands in a kept body where a constant stood (``blanking.py``)."""


def datum(node: Any) -> str:
    """A constant as a text: ``n:5``, ``s:a``, ``b:true``, ``null``, ``min`` and ``max`` of bounds; ``?`` for anything else."""
    while isinstance(node, dict) and "TypeCast" in node:
        node = node["TypeCast"].get("arg")
    if not isinstance(node, dict):
        return "?"
    if "ColumnRef" in node:
        name = strings(node["ColumnRef"].get("fields", []))[-1:]
        return {"minvalue": "min", "maxvalue": "max"}.get(name[0] if name else "", "?")
    value = node.get("A_Const")
    if not isinstance(value, dict):
        return _worked_out(node.get("A_Expr", {}))
    if value.get("isnull"):
        return "null"
    if BLANK in value.get("sval", {}).get("sval", ""):
        return "?"
    if "sval" in value:
        return f"s:{value['sval'].get('sval', '')}"
    if "ival" in value:
        return f"n:{value['ival'].get('ival', 0)}"
    if "boolval" in value:
        return f"b:{str(value['boolval'].get('boolval', False)).lower()}"
    return f"n:{value['fval'].get('fval', '')}" if "fval" in value else "?"


def _worked_out(node: Tree) -> str:
    """A sign, and sums and products of whole numbers, which the planner works out beforehand."""
    if node.get("kind") != "AEXPR_OP":
        return "?"
    name, one, other = strings(node.get("name", [])), node.get("lexpr"), datum(node.get("rexpr"))
    if name == ["-"] and one is None and other[:2] == "n:":
        return f"n:{other[3:]}" if other[2:3] == "-" else f"n:-{other[2:]}"
    first = datum(one) if one is not None else "?"
    if name[:1] not in (["+"], ["-"], ["*"]) or not (_WHOLE.fullmatch(first) and _WHOLE.fullmatch(other)):
        return "?"
    a, b = int(first[2:]), int(other[2:])
    return f"n:{a + b if name == ['+'] else a - b if name == ['-'] else a * b}"


class Scope:
    """One level of a query: what is asked of each table that its FROM names."""

    __slots__ = ("_found", "given", "node", "outputs")

    def __init__(
        self, node: Tree, given: tuple[Condition, ...] = (), outputs: tuple[tuple[str, str], ...] = ()
    ) -> None:
        # What the query around it asks of its rows, and what that one hands on of them, for those of a view.
        self.node, self.given, self.outputs = node, given, outputs
        self._found: dict[str, tuple[Condition, ...]] = {}
        tables = [*node.get("fromClause", ()), *node.get("usingClause", ())]
        if "joinCondition" in node:
            _merge(node, self._found)
        elif "whereClause" in node or any("JoinExpr" in table for table in tables):
            parts = list(_parts(node.get("whereClause")))
            if "relation" in node:
                tables.append({"RangeVar": node["relation"]})
            for table in tables:
                _below(table, parts, self._found)

    def of(self, table: Tree) -> tuple[Condition, ...]:
        """The conditions on a table of FROM."""
        return self._found.get(alias_of(table), ()) if self._found else ()


def alias_of(table: Tree) -> str:
    """What the query calls a table of FROM."""
    return str(table.get("alias", {}).get("aliasname", table.get("relname", "")))


def _merge(node: Tree, found: dict[str, tuple[Condition, ...]]) -> None:
    """MERGE joins its target to its source; with WHEN NOT MATCHED rows of the source without a partner count too."""
    parts = list(_parts(node["joinCondition"]))
    kinds = {clause["MergeWhenClause"].get("matchKind", "") for clause in node.get("mergeWhenClauses", ())}
    if "MERGE_WHEN_NOT_MATCHED_BY_SOURCE" not in kinds:
        _below({"RangeVar": node["relation"]}, parts, found)
    if "MERGE_WHEN_NOT_MATCHED_BY_TARGET" not in kinds:
        _below(node.get("sourceRelation", {}), parts, found)


# -- joins -----------------------------------------------------------------------------------------


def _below(item: Tree, parts: list[Tree], found: dict[str, tuple[Condition, ...]]) -> None:
    """Hand the parts of the conditions around it down to the tables of one item of FROM."""
    if "RangeVar" in item or "RangeSubselect" in item:
        alias = alias_of(item.get("RangeVar") or item["RangeSubselect"])
        found[alias] = _conditions(alias, parts)
    elif "JoinExpr" in item:
        join = item["JoinExpr"]
        left, right = join.get("larg", {}), join.get("rarg", {})
        on = list(_parts(join.get("quals")))
        names = strings(join.get("usingClause", []))
        on += [_same(one, other, name) for name in names for one in _names(left) for other in _names(right)]
        kind = _reduced(join.get("jointype", ""), left, right, parts)
        strict = [part for part in parts if _strict(part)]
        _below(
            left,
            {"JOIN_INNER": [*parts, *on], "JOIN_LEFT": parts, "JOIN_RIGHT": [*strict, *on]}.get(kind, []),
            found,
        )
        _below(
            right,
            {"JOIN_INNER": [*parts, *on], "JOIN_RIGHT": parts, "JOIN_LEFT": [*strict, *on]}.get(kind, []),
            found,
        )


def _same(one: str, other: str, column: str) -> Tree:
    sides = [
        {"ColumnRef": {"fields": [{"String": {"sval": at}}, {"String": {"sval": column}}]}}
        for at in (one, other)
    ]
    equal = {"kind": "AEXPR_OP", "name": [{"String": {"sval": "="}}], "lexpr": sides[0], "rexpr": sides[1]}
    return {"A_Expr": equal}


def _names(item: Tree) -> list[str]:
    if "RangeVar" in item or "RangeSubselect" in item:
        return [alias_of(item.get("RangeVar") or item["RangeSubselect"])]
    join = item.get("JoinExpr", {})
    return [*_names(join["larg"]), *_names(join["rarg"])] if join else []


def _reduced(kind: str, left: Tree, right: Tree, parts: list[Tree]) -> str:
    """An outer join whose missing side WHERE asks for something is an inner join."""
    asked = {column[0] for part in parts if _strict(part) for test in _tests(part) for column in [test[0]]}
    if kind == "JOIN_FULL":
        kind = (
            "JOIN_LEFT" if asked & set(_names(left)) else "JOIN_RIGHT" if asked & set(_names(right)) else kind
        )
    missing = right if kind == "JOIN_LEFT" else left if kind == "JOIN_RIGHT" else {}
    return "JOIN_INNER" if asked & set(_names(missing)) else kind


def _strict(part: Tree) -> bool:
    """Whether the part is not true of a row that is missing."""
    return (
        not ("NullTest" in part and part["NullTest"].get("nulltesttype") == "IS_NULL")
        and "BoolExpr" not in part
    )


# -- parts -----------------------------------------------------------------------------------------


def _parts(node: Any) -> Iterator[Tree]:
    """A condition, taken apart at AND."""
    queue = [node] if node else []
    while queue:
        part = _pushed(queue.pop(0))
        if part.get("BoolExpr", {}).get("boolop") == "AND_EXPR":
            queue[:0] = part["BoolExpr"].get("args", [])
        else:
            yield from _pairs(part) or [part]


def _pushed(part: Tree) -> Tree:
    """NOT of AND, OR or NOT, pushed down to what they hold, as the planner does it."""
    if part.get("BoolExpr", {}).get("boolop") != "NOT_EXPR":
        return part
    inner = part["BoolExpr"]["args"][0].get("BoolExpr")
    if inner is None:
        return part
    if inner["boolop"] == "NOT_EXPR":
        return _pushed(dict(inner["args"][0]))
    arms = [{"BoolExpr": {"boolop": "NOT_EXPR", "args": [arm]}} for arm in inner.get("args", ())]
    other = "OR_EXPR" if inner["boolop"] == "AND_EXPR" else "AND_EXPR"
    return {"BoolExpr": {"boolop": other, "args": arms}}


def _pairs(part: Tree) -> list[Tree]:
    """(a, b) = (1, 2) is a = 1 AND b = 2."""
    node = part.get("A_Expr", {})
    if node.get("kind") != "AEXPR_OP" or strings(node.get("name", [])) != ["="]:
        return []
    one, other = (node.get(side, {}).get("RowExpr", {}).get("args", []) for side in ("lexpr", "rexpr"))
    if not one or len(one) != len(other):
        return []
    return [{"A_Expr": {**node, "lexpr": a, "rexpr": b}} for a, b in zip(one, other, strict=True)]


def _conditions(alias: str, parts: list[Tree]) -> tuple[Condition, ...]:
    found: list[Condition] = []
    for part in parts:
        found += _condition(alias, part)
    own = {column: None for part in parts for pair in _equal(part) for column in pair if column[0] == alias}
    for column in own:
        twins = _twins(column, parts)
        for part in parts:
            for of, test in _tests(part):
                if of in twins and of != column and test.op == "=" and len(test.values) == 1:
                    found.append(Test(column[1], "=", test.values, test.cast))
    return tuple(found)


def _condition(alias: str, part: Tree) -> list[Condition]:
    """What one part says of the table: nothing, or a condition."""
    if datum(part) in ("b:false", "null"):
        return [Either(())]  # no row is asked for
    joined = part.get("BoolExpr", {})
    if joined.get("boolop") == "OR_EXPR":
        arms = []
        for arm in joined.get("args", ()):
            inside = tuple([found for piece in _parts(arm) for found in _condition(alias, piece)])
            if not inside:
                return []
            arms.append(inside)
        # What every arm says is said once, in front of them, before partitions are looked at.
        common = [test for test in arms[0] if all(test in arm for arm in arms)] if len(arms) > 1 else []
        rest = [tuple([test for test in arm if test not in common]) for arm in arms]
        return [*common, *([Either(tuple(rest))] if all(rest) else [])]
    return [test for of, test in _tests(part) if of[0] in ("", alias)]


def _twins(column: Column, parts: list[Tree]) -> set[Column]:
    """The columns that the parts hold equal to ``column``, however far round."""
    pairs = [pair for part in parts for pair in _equal(part)]
    found = {column}
    while True:
        more = {at for pair in pairs if found & set(pair) for at in pair} - found
        if not more:
            return found
        found |= more


def _equal(part: Tree) -> list[tuple[Column, Column]]:
    node = part.get("A_Expr", {})
    if node.get("kind") != "AEXPR_OP" or strings(node.get("name", [])) != ["="]:
        return []
    one, other = _column(node.get("lexpr")), _column(node.get("rexpr"))
    return [(one, other)] if one and other and one[0] and other[0] else []


def _column(node: Any) -> Column | None:
    if not isinstance(node, dict) or "ColumnRef" not in node:
        return None
    fields = node["ColumnRef"].get("fields", [])
    names = strings(fields)
    if not names or len(names) != len(fields):
        return None
    return (names[-2] if len(names) > 1 else "", names[-1])


def _tests(part: Tree, *, negated: bool = False) -> Iterator[tuple[Column, Test]]:
    """A part that holds one column against constants."""
    ((kind, node),) = part.items() if len(part) == 1 else (("", {}),)
    if kind == "NullTest":
        column = _column(node.get("arg"))
        if column:
            null = (node.get("nulltesttype") == "IS_NULL") != negated
            yield column, Test(column[1], "null" if null else "not null")
    elif kind == "BoolExpr" and node.get("boolop") == "NOT_EXPR":
        yield from _tests(node["args"][0], negated=not negated)
    elif kind == "ColumnRef":
        column = _column(part)
        if column:
            yield column, Test(column[1], "=", (f"b:{str(not negated).lower()}",))
    elif kind == "A_Expr":
        yield from _compared(node, negated)


def _compared(node: Tree, negated: bool) -> Iterator[tuple[Column, Test]]:
    kind, (name, *_) = node.get("kind"), [*strings(node.get("name", [])), ""]
    left, right = node.get("lexpr"), node.get("rexpr", {})
    column = _column(left)
    if kind == "AEXPR_OP" and name in _TURNED:
        if column is None:
            column, right, name = _column(right), left, _TURNED[name]
        if column and right:
            yield column, _test(column, _NEGATED[name] if negated else name, [right])
    elif kind == "AEXPR_BETWEEN" and column and not negated:
        low, high = right["List"]["items"]
        yield column, _test(column, ">=", [low])
        yield column, _test(column, "<=", [high])
    elif kind in ("AEXPR_IN", "AEXPR_OP_ANY", "AEXPR_OP_ALL") and column:
        items, cast = _listed(right)
        any_equal = name == "=" and kind != "AEXPR_OP_ALL"
        none_equal = name == "<>" and kind != "AEXPR_OP_ANY"
        if (any_equal or none_equal) and items and len(items) <= MOST_ROWS:
            yield column, _test(column, "=" if any_equal != negated else "<>", items, cast)


def _listed(node: Tree) -> tuple[list[Any], str]:
    """The items of a list or an ARRAY, and the type that a cast of the whole gives them."""
    if "TypeCast" in node:
        items, _ = _listed(node["TypeCast"].get("arg", {}))
        return items, _cast(node)
    if "List" in node:
        return node["List"].get("items", []), ""
    text = datum(node)
    if text.startswith("s:{") and text.endswith("}") and not set(text[3:-1]) & set('{}"\\'):
        items = [item.strip() for item in text[3:-1].split(",")]
        return [{"A_Const": {"sval": {"sval": item}}} for item in items if item.upper() != "NULL"], ""
    return node.get("A_ArrayExpr", {}).get("elements", []), ""


def _test(column: Column, op: str, items: list[Any], cast: str = "") -> Test:
    if cast:
        return Test(column[1], op, tuple([datum(item) for item in items]), cast)
    casts = {_cast(item) for item in items}
    # Constants of several types are compared by a type of the server's choice.
    alike = len(casts) == 1
    values = tuple([_constant(item) if "ColumnRef" not in item and alike else "?" for item in items])
    return Test(column[1], op, values, casts.pop())


def _constant(item: Tree) -> str:
    inner = _negative(item)
    if inner is None:
        return datum(item)
    value = datum(inner)
    return f"n:-{value[2:]}" if value.startswith("n:") and not value.startswith("n:-") else "?"


def _negative(item: Tree) -> Tree | None:
    """What stands behind a minus sign."""
    node = item.get("A_Expr", {})
    minus = "lexpr" not in node and strings(node.get("name", [])) == ["-"]
    return dict(node.get("rexpr", {})) if minus else None


def _cast(item: Tree) -> str:
    item = _negative(item) or item
    if "TypeCast" not in item:
        return ""
    names = strings(item["TypeCast"].get("typeName", {}).get("names", []))
    return names[-1] if names else ""
