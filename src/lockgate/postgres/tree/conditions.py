"""What a query asks of each table's columns, as far as the planner leaves out partitions by it.

A query's WHERE and the ON of its joins are taken apart at every AND. A part counts for a table when it holds one of
its columns against constants, or when it says so of a column that another part holds equal to it; below an outer
join only what the server pushes down counts.
"""

import re
from collections.abc import Iterator
from typing import Any

from lockgate.postgres.tree.constants import (
    BUILT_IN_CASTS,
    cast_of,
    datum,
    mods_of,
    negative,
    strings,
    truth,
)
from lockgate.postgres.tree.pushing import agreed, alias_of, names_below
from lockgate.postgres.tree.words import Condition, Either, Test

Tree = dict[str, Any]
Column = tuple[str, str]
"""(alias of the table, column); the alias is empty where the text gives none."""

MOST_ROWS = 100
"""Of VALUES, and of a list after IN: more are not looked at one by one."""

NOTHING_LASTS = Either(((),))
"""On the target of a write: what is asked of it, by a view too, has come to nothing beside something that is false."""

_STABLE = re.compile(
    r"SQLValueFunction|'funcname': \[(\{'String': \{'sval': 'pg_catalog'\}\}, )?\{'String': \{'sval': 'now'\}\}\]"
)
"""What the planner works out for no plan, so that it stands beside the other conditions."""

_TURNED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_NEGATED = {"=": "<>", "<>": "=", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}


class Scope:
    """One level of a query: what is asked of each table that its FROM names."""

    __slots__ = ("_found", "crowded", "given", "joined", "node", "outputs")

    def __init__(
        self,
        node: Tree,
        given: tuple[Condition, ...] = (),
        outputs: tuple[tuple[str, str], ...] = (),
        *,
        inside: bool = False,
    ) -> None:
        # What the query around it asks of its rows, and what that one hands on of them, for those of a view.
        self.node, self.given, self.outputs = node, given, outputs
        self._found: dict[str, tuple[Condition, ...]] = {}
        self.joined = True
        tables = [*node.get("fromClause", ()), *node.get("usingClause", ())]
        # Whether its tables are planned together with others, so that what is false of all is held against none of them.
        several = len(tables) + ("relation" in node) > 1 or any("JoinExpr" in at for at in tables)
        self.crowded = inside or several or "joinCondition" in node
        if "joinCondition" in node:
            _merge(node, self._found)
        elif "whereClause" in node or "havingClause" in node or any("JoinExpr" in table for table in tables):
            parts = [*_parts(node.get("whereClause")), *_of_groups(node)]
            if "relation" in node:
                tables.append({"RangeVar": node["relation"]})
            settled = any(_settled(part) for part in parts)
            self.joined = inside or len(tables) > 1 or not all("RangeVar" in table for table in tables)
            if settled and self.joined:
                parts = []
            for table in tables:
                _below(table, parts, self._found, self.joined)
            if settled and not parts and "relation" in node:
                self._found[alias_of(node["relation"])] = (NOTHING_LASTS,)

    def of(self, table: Tree) -> tuple[Condition, ...]:
        """The conditions on a table of FROM."""
        return self._found.get(alias_of(table), ()) if self._found else ()


def _of_groups(node: Tree) -> list[Tree]:
    """The parts of HAVING that speak of whole groups: the planner asks them of the rows already."""
    sets = "GroupingSet" in repr(node.get("groupClause", ""))
    parts = list(_parts(node.get("havingClause"))) if not sets else []
    return [part for part in parts if not any(kind in repr(part) for kind in ("FuncCall", "SubLink"))]


def _merge(node: Tree, found: dict[str, tuple[Condition, ...]]) -> None:
    """MERGE joins its target to its source; with WHEN NOT MATCHED rows of the source without a partner count too."""
    parts = _lasting(list(_parts(node["joinCondition"])))
    kinds = {clause["MergeWhenClause"].get("matchKind", "") for clause in node.get("mergeWhenClauses", ())}
    if "MERGE_WHEN_NOT_MATCHED_BY_SOURCE" not in kinds:
        _below({"RangeVar": node["relation"]}, parts, found, True)
    if "MERGE_WHEN_NOT_MATCHED_BY_TARGET" not in kinds:
        _below(node.get("sourceRelation", {}), parts, found, True)


# -- joins -----------------------------------------------------------------------------------------


def _below(item: Tree, parts: list[Tree], found: dict[str, tuple[Condition, ...]], inner: bool) -> None:
    """Hand the parts of the conditions around it down to the tables of one item of FROM; ``inner``: of an inner join."""
    if "RangeVar" in item or "RangeSubselect" in item:
        alias = alias_of(item.get("RangeVar") or item["RangeSubselect"])
        own = _conditions(alias, parts)
        found[alias] = agreed(own) if inner else own
    elif "JoinExpr" in item:
        join = item["JoinExpr"]
        left, right = join.get("larg", {}), join.get("rarg", {})
        on = _lasting(list(_parts(join.get("quals"))))
        names = strings(join.get("usingClause", []))
        on += [
            _same(one, other, name)
            for name in names
            for one in names_below(left)
            for other in names_below(right)
        ]
        kind = _reduced(join.get("jointype", ""), left, right, parts)
        strict = [part for part in parts if _strict(part)]
        _below(
            left,
            {"JOIN_INNER": [*parts, *on], "JOIN_LEFT": parts, "JOIN_RIGHT": [*strict, *on]}.get(kind, []),
            found,
            kind in ("JOIN_INNER", "JOIN_LEFT"),
        )
        _below(
            right,
            {"JOIN_INNER": [*parts, *on], "JOIN_RIGHT": parts, "JOIN_LEFT": [*strict, *on]}.get(kind, []),
            found,
            kind in ("JOIN_INNER", "JOIN_RIGHT"),
        )


def _same(one: str, other: str, column: str) -> Tree:
    sides = [
        {"ColumnRef": {"fields": [{"String": {"sval": at}}, {"String": {"sval": column}}]}}
        for at in (one, other)
    ]
    equal = {"kind": "AEXPR_OP", "name": [{"String": {"sval": "="}}], "lexpr": sides[0], "rexpr": sides[1]}
    return {"A_Expr": equal}


def _reduced(kind: str, left: Tree, right: Tree, parts: list[Tree]) -> str:
    """An outer join whose missing side WHERE asks for something is an inner join."""
    asked = {column[0] for part in parts if _strict(part) for test in _tests(part) for column in [test[0]]}
    if kind == "JOIN_FULL":
        kind = (
            "JOIN_LEFT"
            if asked & set(names_below(left))
            else "JOIN_RIGHT"
            if asked & set(names_below(right))
            else kind
        )
    missing = right if kind == "JOIN_LEFT" else left if kind == "JOIN_RIGHT" else {}
    return "JOIN_INNER" if asked & set(names_below(missing)) else kind


def _strict(part: Tree) -> bool:
    """Whether the part is not true of a row that is missing."""
    if "BooleanTest" in part:
        return part["BooleanTest"].get("booltesttype") in ("IS_TRUE", "IS_FALSE", "IS_NOT_UNKNOWN")
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


def _lasting(parts: list[Tree]) -> list[Tree]:
    """The parts that reach the tables of a join: none at all where one of them is false whatever the rows are.

    Such a one swallows the others, and is asked above the join: every table below is planned.
    """
    return [] if any(_settled(part) for part in parts) else parts


def _settled(part: Tree) -> bool:
    """Whether a condition may be worked out without a row, to anything but true."""
    joined = part.get("BoolExpr", {})
    text = repr(part)
    if joined and (joined.get("boolop") != "NOT_EXPR" or "ColumnRef" in text):
        arms = [any(_settled(piece) for piece in _parts(arm)) for arm in joined.get("args", ())]
        return all(arms) if joined.get("boolop") == "OR_EXPR" else any(arms)
    if "ColumnRef" not in text:
        return truth(part) is not True and not _STABLE.search(text)
    node = part.get("A_Expr", {})
    listed = node.get("kind") in ("AEXPR_IN", "AEXPR_OP_ANY", "AEXPR_OP_ALL")
    several = listed and len(_listed(node.get("rexpr", {}))[0]) > 1
    return "'isnull': True" in text and not several  # nothing compares with NULL


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
    if "ColumnRef" not in repr(part) and truth(part) is False:
        return [Either(())]  # no row is asked for
    if _of_nothing(part.get("A_Expr", {})):
        return [Either(())]
    if "BooleanTest" in part:
        return _boolean(alias, part["BooleanTest"])
    joined = part.get("BoolExpr", {})
    if joined.get("boolop") == "NOT_EXPR" and "BooleanTest" in joined["args"][0]:
        return _boolean(alias, joined["args"][0]["BooleanTest"], negated=True)
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


def _of_nothing(node: Tree) -> bool:
    """Whether something is compared with NULL, which is true of no row."""
    kind, name = node.get("kind"), "".join(strings(node.get("name", [])))
    if kind == "AEXPR_OP" and name in _TURNED:
        return "null" in (datum(node.get("lexpr")), datum(node.get("rexpr")))
    items = node["rexpr"].get("List", {}).get("items", []) if kind == "AEXPR_IN" else []
    return len(items) == 1 and datum(items[0]) == "null"


def _boolean(alias: str, test: Tree, *, negated: bool = False) -> list[Condition]:
    """IS TRUE and its kin; what is not true is false, or is not known."""
    column = _column(test.get("arg"))
    if column is None or column[0] not in ("", alias):
        return []
    kind = str(test.get("booltesttype", ""))
    denied = ("IS_NOT" in kind) != negated
    if kind.endswith("UNKNOWN"):
        return [Test(column[1], "known" if denied else "unknown")]
    is_true = kind.endswith("TRUE") != denied
    value = Test(column[1], "=", (f"b:{str(is_true).lower()}",))
    return [Either(((value,), (Test(column[1], "null"),)))] if denied else [value]


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
            if kind == "AEXPR_OP_ANY" and len(items) == 1:
                items = items * 2  # an array of one value is asked as an array, not as one value
            yield column, _test(column, "=" if any_equal != negated else "<>", items, cast)


def _listed(node: Tree) -> tuple[list[Any], str]:
    """The items of a list or an ARRAY, and the type that a cast of the whole gives them."""
    if "TypeCast" in node:
        items, _ = _listed(node["TypeCast"].get("arg", {}))
        return [] if mods_of(node["TypeCast"].get("typeName", {})) else items, cast_of(node)
    if "List" in node:
        return node["List"].get("items", []), ""
    text = datum(node)
    if text.startswith("s:{") and text.endswith("}") and not set(text[3:-1]) & set('{}"\\'):
        items = [item.strip() for item in text[3:-1].split(",")]
        return [{"A_Const": {"sval": {"sval": item}}} for item in items if item.upper() != "NULL"], ""
    return node.get("A_ArrayExpr", {}).get("elements", []), ""


def _test(column: Column, op: str, items: list[Any], cast: str = "") -> Test:
    if cast:
        return Test(column[1], op, tuple([_constant(item) for item in items]), cast)
    casts = {cast_of(item) for item in items}
    # Constants of several types are compared by a type of the server's choice.
    alike = len(casts) == 1
    values = tuple([_constant(item) if "ColumnRef" not in item and alike else "?" for item in items])
    return Test(column[1], op, values, casts.pop())


def _constant(item: Tree) -> str:
    inner = negative(item)
    if inner is None:
        bare = item.get("TypeCast", {})
        # What a type of users makes of it, its own definition says, which stands beside it in the test.
        users = "A_Const" in bare.get("arg", {}) and cast_of(item) not in BUILT_IN_CASTS
        return datum(bare["arg"] if users else item)
    value = datum(inner)
    return f"n:-{value[2:]}" if value.startswith("n:") and not value.startswith("n:-") else "?"
