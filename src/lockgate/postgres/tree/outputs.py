"""What a query gives out: the names of its columns, and the tables whose columns a star stands for."""

from collections.abc import Iterator
from typing import Any

from lockgate.postgres.tree.constants import strings
from lockgate.postgres.tree.pushing import alias_of
from lockgate.postgres.tree.shapes import Name

Tree = dict[str, Any]


def output_columns(node: Any) -> tuple[tuple[str, ...] | None, bool, tuple[str | Name, ...]]:
    """The names of the columns of a query and whether it has a star; then the columns are None.

    Third, where every star is one of a table that the query names itself: its columns, with the table for each star.
    """
    if isinstance(node, dict) and "InsertStmt" in node:
        return None, output_columns(node["InsertStmt"].get("selectStmt"))[1], ()
    select = node.get("SelectStmt") if isinstance(node, dict) else None
    ctes = _own_ctes(select) if select else frozenset()
    while select and "larg" in select:
        select = select["larg"]
        ctes |= _own_ctes(select)
    if not select:
        return None, False, ()
    shown: list[str | Name] = []
    star = told = False
    for item in select.get("targetList", ()):
        target = item["ResTarget"]
        value = target.get("val", {})
        qualifier = _star(value)
        if "name" in target or qualifier is None:
            shown.append(target.get("name") or derived_name(value))
            continue
        names = list(_behind(select, qualifier, ctes))
        told = (told or not star) and None not in names and not _others(select, qualifier, ctes)
        star = True
        shown += [name for name in names if name is not None]
    if star:
        return None, True, tuple(shown) if told else ()
    return tuple(str(name) for name in shown), False, ()


def starred(select: Tree, ctes: frozenset[str]) -> Iterator[Name | None]:
    """The tables whose columns the stars of one SELECT stand for, its subqueries not looked into; None where that cannot be told."""
    for item in select.get("targetList", ()):
        qualifier = _star(item.get("ResTarget", {}).get("val", {}))
        if qualifier is not None:
            yield from _behind(select, qualifier, ctes)


def _star(value: Any) -> list[str] | None:
    """What stands in front of a star, [] for a star alone; None for anything else."""
    if not isinstance(value, dict):
        return None
    if "A_Indirection" in value:  # (t).*
        node = value["A_Indirection"]
        inner = node.get("arg", {}).get("ColumnRef")
        return strings(inner.get("fields", [])) if inner and "A_Star" in node["indirection"][-1] else None
    fields = value.get("ColumnRef", {}).get("fields", [])
    return strings(fields[:-1]) if fields and "A_Star" in fields[-1] else None


def _behind(select: Tree, qualifier: list[str], ctes: frozenset[str]) -> Iterator[Name | None]:
    """The tables that the star stands for. A query of FROM or WITH is none: what stands in it is told where it is walked."""
    found = False
    for item in select.get("fromClause", ()):
        for table in _items(item):
            if not _meant(table, qualifier):
                continue
            found = True
            name = table.get("relname")
            if name and (table.get("schemaname") or name not in ctes):
                yield Name(table.get("schemaname", ""), name)
    if qualifier and not found:
        yield None  # of a query around this one, or of a join by its own name


def _meant(table: Tree, qualifier: list[str]) -> bool:
    """Whether a star behind ``qualifier`` stands for this table of FROM."""
    if not qualifier:
        return True
    schema = qualifier[-2] if len(qualifier) > 1 else ""
    return alias_of(table) == qualifier[-1] and schema in ("", table.get("schemaname", schema))


def _others(select: Tree, qualifier: list[str], ctes: frozenset[str]) -> bool:
    """Whether the star stands for anything besides tables, for columns that a join merges, or for some by other names."""
    listed = select.get("fromClause", ())
    meant = [table for item in listed for table in _items(item) if _meant(table, qualifier)]
    merged = not qualifier and any(_merges(item) for item in listed)
    return merged or any(
        "relname" not in table or table["relname"] in ctes or "colnames" in table.get("alias", {})
        for table in meant
    )


def _merges(item: Any) -> bool:
    join = item.get("JoinExpr") if isinstance(item, dict) else None
    if join is None:
        return False
    here = any(join.get(key) for key in ("usingClause", "isNatural", "alias"))
    return here or any(_merges(join[side]) for side in ("larg", "rarg") if side in join)


def _own_ctes(select: Tree) -> frozenset[str]:
    listed = select.get("withClause", {}).get("ctes", ())
    return frozenset(item["CommonTableExpr"]["ctename"] for item in listed)


def _items(item: Any) -> Iterator[Tree]:
    """What FROM lists, joins taken apart."""
    for kind, node in item.items():
        if kind == "JoinExpr":
            for side in ("larg", "rarg"):
                if side in node:
                    yield from _items(node[side])
        elif kind == "RangeTableSample":
            yield from _items(node["relation"])
        else:
            yield node


def derived_name(value: Any) -> str:
    """The name PostgreSQL gives an unnamed output column or index expression."""
    while isinstance(value, dict) and value:
        kind, node = next(iter(value.items()))
        if kind == "ColumnRef":
            parts = strings(node.get("fields", []))
            return parts[-1] if parts else "?column?"
        if kind == "FuncCall":
            return strings(node["funcname"])[-1]
        if kind == "TypeCast":
            inner = derived_name(node.get("arg"))
            if inner != "?column?":
                return inner
            names = strings(node["typeName"].get("names", []))
            return names[-1] if names else ""
        if kind == "A_Indirection":
            fields = strings(node.get("indirection", []))
            if fields:
                return fields[-1]
        if kind in ("CollateClause", "A_Indirection"):
            value = node.get("arg")
            continue
        fixed = _FIXED_NAMES.get(kind)
        if kind == "MinMaxExpr":
            return "greatest" if node.get("op") == "IS_GREATEST" else "least"
        if kind == "SQLValueFunction":
            return str(node.get("op", "")).removeprefix("SVFOP_").lower()
        if kind == "A_Expr" and node.get("kind") == "AEXPR_NULLIF":
            return "nullif"
        return fixed or "?column?"
    return "?column?"


_FIXED_NAMES = {
    "CoalesceExpr": "coalesce",
    "CaseExpr": "case",
    "A_ArrayExpr": "array",
    "RowExpr": "row",
    "XmlSerialize": "xmlserialize",
    "GroupingFunc": "grouping",
}
