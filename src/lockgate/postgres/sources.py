"""What the columns of a statement's sources are: of ``(VALUES ($1, $2)) v (a, b)``, ``(SELECT $1 AS a) s``, ``unnest($1, $2) u (a, b)``.

Upserts of many rows and MERGE write through them; a parameter there stands for the column that is written from it.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

Node = Any


class Given(NamedTuple):
    """One value of a column of a source; a source of several rows gives one for each of them. ``number`` counts its columns from 0."""

    source: str
    number: int
    column: str
    node: Node


def given(statement: Node, around: Node = None) -> tuple[Given, ...]:
    """The columns that the sources of ``statement`` give, in their order; the queries of WITH are its own or those of ``around``."""
    queries = {**_with(around or {}), **_with(statement)}
    items = [
        statement.get("sourceRelation"),
        *statement.get("fromClause", ()),
        *statement.get("usingClause", ()),
    ]
    return tuple(one for item in items for one in _of_item(item, queries))


def _with(statement: Node) -> dict[str, Node]:
    """The queries of WITH by name, each as if it stood in the place of its name."""
    found = {}
    for item in statement.get("withClause", {}).get("ctes", ()):
        query = item.get("CommonTableExpr", {})
        alias = {"aliasname": query.get("ctename", ""), "colnames": query.get("aliascolnames", [])}
        found[alias["aliasname"]] = {"subquery": query.get("ctequery", {}), "alias": alias}
    return found


def traced(node: Node, known: Sequence[Given]) -> list[Node]:
    """The values that ``node`` stands for: those of the source's column where it is the name of one; else itself."""
    fields = node.get("ColumnRef", {}).get("fields", ()) if isinstance(node, dict) else ()
    names = [field.get("String", {}).get("sval", "") for field in fields]
    if names and names[-1] and len(names) < 3:
        found = [g.node for g in known if g.column == names[-1] and names[:-1] in ([], [g.source])]
        if found:
            return found
    alone = _alone(node)
    return [node] if alone is None else [alone]


def _alone(node: Node) -> Node:
    """The value of ``(SELECT value)``, None for anything else."""
    link = node.get("SubLink", {}) if isinstance(node, dict) else {}
    select = link.get("subselect", {}).get("SelectStmt", {})
    if link.get("subLinkType") != "EXPR_SUBLINK" or "fromClause" in select:
        return None
    targets = select.get("targetList", ())
    return targets[0].get("ResTarget", {}).get("val") if len(targets) == 1 else None


def nth(source: Node, number: int) -> Node:
    """The ``number``-th value (from 1) of a row, written as ``ROW(...)`` or as a SELECT; None where it is neither."""
    values = source.get("RowExpr", {}).get("args", ())
    select = source.get("SubLink", {}).get("subselect", {}).get("SelectStmt", {})
    values = values or [target.get("ResTarget", {}).get("val") for target in select.get("targetList", ())]
    return values[number - 1] if 0 < number <= len(values) else None


def rows(select: Node, known: Sequence[Given]) -> list[list[Node]]:
    """The rows that an INSERT takes from ``select``, as far as they are written there; ``*`` stands for all that ``known`` gives."""
    lists = [row.get("List", {}).get("items", ()) for row in select.get("valuesLists", ())]
    if lists:
        return [list(row) for row in lists]
    if "larg" in select:
        return [
            *rows(select["larg"], given(select["larg"], select)),
            *rows(select["rarg"], given(select["rarg"], select)),
        ]
    row: list[Node] = []
    for target in select.get("targetList", ()):
        value = target.get("ResTarget", {}).get("val", {})
        starred = _starred(value)
        if starred is None:
            row.append(value)
        else:
            first: dict[tuple[str, int], Node] = {}
            for one in known:
                if starred in ("", one.source):
                    first.setdefault((one.source, one.number), one.node)
            row += first.values()
    return [row]


def _starred(node: Node) -> str | None:
    """The source of ``source.*``, "" for a bare star, None for anything else."""
    fields = node.get("ColumnRef", {}).get("fields", ()) if isinstance(node, dict) else ()
    if not fields or "A_Star" not in fields[-1]:
        return None
    return str(fields[-2].get("String", {}).get("sval", "")) if len(fields) > 1 else ""


def _of_item(item: Node, queries: dict[str, Node]) -> Iterator[Given]:
    if not isinstance(item, dict):
        return
    if "JoinExpr" in item:
        yield from _of_item(item["JoinExpr"].get("larg"), queries)
        yield from _of_item(item["JoinExpr"].get("rarg"), queries)
    named_query = queries.get(item.get("RangeVar", item).get("relname", ""))
    if named_query is not None:
        alias = {**named_query["alias"], **item.get("RangeVar", item).get("alias", {})}
        item = {"RangeSubselect": {**named_query, "alias": alias}}
    for key, columns in (("RangeSubselect", _of_subselect), ("RangeFunction", _of_function)):
        source = item.get(key, {})
        alias = source.get("alias", {})
        named = [name.get("String", {}).get("sval", "") for name in alias.get("colnames", ())]
        for number, name, node in columns(source, alias.get("aliasname", "")):
            yield Given(
                alias.get("aliasname", ""), number, named[number] if number < len(named) else name, node
            )


def _of_subselect(source: Node, _: str) -> Iterator[tuple[int, str, Node]]:
    select = source.get("subquery", {}).get("SelectStmt", {})
    for row in select.get("valuesLists", ()):
        for number, node in enumerate(row.get("List", {}).get("items", ())):
            yield number, f"column{number + 1}", node
    for number, target in enumerate(select.get("targetList", ())):
        value = target.get("ResTarget", {})
        if _starred(value.get("val", {})) is not None:
            return  # how many columns stand before the next one cannot be told
        yield number, value.get("name", ""), value.get("val", {})


def _of_function(source: Node, alias: str) -> Iterator[tuple[int, str, Node]]:
    """Columns of ``unnest``, each as if it were called for that array alone. Other functions give nobody knows what."""
    for function in source.get("functions", ()):
        items: list[Node] = function.get("List", {}).get("items", [])
        call = items[0].get("FuncCall", {}) if items else {}
        if [part.get("String", {}).get("sval", "") for part in call.get("funcname", ())][-1:] != ["unnest"]:
            return
        arrays = call.get("args", ())
        for number, array in enumerate(arrays):
            name = (alias or "unnest") if len(arrays) == 1 else "unnest"
            yield number, name, {"FuncCall": {**call, "args": [array]}}
