"""Which columns a statement copies from rows into rows: ``SET nick = old_nick``, ``INSERT INTO a SELECT nick FROM b``. Pure trees."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from lockgate.postgres.documents import named

Node = Any


class Copied(NamedTuple):
    """A column whose value is written somewhere, as it is or within an expression; ``relations`` (schema, name) are tried in order.

    The column ``*`` stands for all of them.
    """

    relations: tuple[tuple[str, str], ...]
    column: str


def copied_in(tree: Node) -> tuple[Copied, ...]:
    """The columns that the statements of ``tree`` read in order to write them, those of WITH too, each once."""
    return tuple(dict.fromkeys(_statements(tree)))


def _statements(node: Node) -> Iterator[Copied]:
    if isinstance(node, list):
        for child in node:
            yield from _statements(child)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in ("InsertStmt", "UpdateStmt", "MergeStmt"):
                yield from _of_with(value)
            if key == "InsertStmt":
                yield from _selected(value.get("selectStmt", {}).get("SelectStmt", {}))
            elif key in ("UpdateStmt", "MergeStmt"):
                around = _around(value, ("relation", "fromClause", "sourceRelation"))
                for written in _written(value):
                    yield from _columns(written, around)
            yield from _statements(value)


def _written(statement: Node) -> Iterator[Node]:
    yield from statement.get("targetList", ())
    for item in statement.get("mergeWhenClauses", ()):
        clause = item.get("MergeWhenClause", {})
        yield from (*clause.get("targetList", ()), *clause.get("values", ()))


def _selected(select: Node) -> Iterator[Copied]:
    """What a SELECT gives that is written, those of WITH and of sub-selects among its sources too."""
    for arm in ("larg", "rarg"):
        if arm in select:
            yield from _selected(select[arm])
    around = _around(select, ("fromClause",))
    yield from _columns(select.get("targetList", ()), around)
    yield from _of_with(select)
    for inner in _sub_selects(select.get("fromClause", ())):
        yield from _selected(inner)


def _of_with(statement: Node) -> Iterator[Copied]:
    for query in statement.get("withClause", {}).get("ctes", ()):
        yield from _selected(query.get("CommonTableExpr", {}).get("ctequery", {}).get("SelectStmt", {}))


def _sub_selects(node: Node) -> Iterator[Node]:
    if isinstance(node, list):
        for child in node:
            yield from _sub_selects(child)
    elif isinstance(node, dict):
        if "RangeSubselect" in node:
            yield node["RangeSubselect"].get("subquery", {}).get("SelectStmt", {})
        for key in ("JoinExpr", "larg", "rarg"):
            yield from _sub_selects(node.get(key))


def _around(statement: Node, keys: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """The relations in sight: (alias, schema, name)."""
    found = []
    for key in keys:
        for item in _relations(statement.get(key)):
            alias = item.get("alias", {}).get("aliasname", "") or item["relname"]
            found.append((alias, item.get("schemaname", ""), item["relname"]))
    return found


def _relations(node: Node) -> Iterator[Node]:
    if isinstance(node, list):
        for child in node:
            yield from _relations(child)
    elif isinstance(node, dict):
        if "relname" in node:
            yield node
        for key in ("RangeVar", "JoinExpr", "larg", "rarg"):
            yield from _relations(node.get(key))


def _columns(node: Node, around: list[tuple[str, str, str]]) -> Iterator[Copied]:
    if isinstance(node, list):
        for child in node:
            yield from _columns(child, around)
    elif isinstance(node, dict):
        if "SubLink" in node:
            yield from _selected(node["SubLink"].get("subselect", {}).get("SelectStmt", {}))
        elif "ColumnRef" in node:
            fields = node["ColumnRef"].get("fields", ())
            names = named(node)
            column = "*" if fields and "A_Star" in fields[-1] else names[-1]
            owner = names[-2] if len(names) > 1 else ""
            yield Copied(tuple((s, n) for alias, s, n in around if owner in ("", alias)), column)
        else:
            for child in node.values():
                yield from _columns(child, around)
