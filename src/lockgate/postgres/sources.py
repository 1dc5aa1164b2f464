"""What the columns of a statement's sources are: of ``(VALUES ($1, $2)) v (a, b)``, ``(SELECT $1 AS a) s``, ``unnest($1, $2) u (a, b)``,
``jsonb_to_recordset($1) x (a int)``.

Upserts of many rows and MERGE write through them; a parameter there stands for the column that is written from it.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from lockgate.postgres.documents import (
    Given,
    context,
    json_path,
    named,
    part,
    piece_of,
    texts,
    traced,
    type_of,
)

Node = Any


def given(statement: Node, around: Node = None, queries: dict[str, Node] | None = None) -> tuple[Given, ...]:
    """The columns that the sources of ``statement`` give, in their order; the queries of WITH are its own, those of ``around``, and ``queries``."""
    queries = {**(queries or {}), **_with(around or {}), **_with(statement)}
    items = [
        statement.get("sourceRelation"),
        *statement.get("fromClause", ()),
        *statement.get("usingClause", ()),
    ]
    found: list[Given] = []
    for item in items:
        for one in _of_item(item, queries):
            # What a function takes from a source before it is a part of what that source gives.
            found.append(one._replace(node=_settled(one.node, found)))
    return tuple(found)


def _settled(node: Node, known: Sequence[Given]) -> Node:
    if not isinstance(node, dict) or "Part" not in node:
        return node
    piece = piece_of(node, known)
    if piece is None:
        return {}
    record = node["Part"]["record"]
    if record is None and piece.record is not None:
        record = {"names": [{"String": {"sval": word}} for word in piece.record if word]}
    return part({"ParamRef": {"number": piece.number}}, *piece.path, kind=piece.kind, record=record)


def _with(statement: Node) -> dict[str, Node]:
    """The queries of WITH by name, each as if it stood in the place of its name."""
    found = {}
    for item in statement.get("withClause", {}).get("ctes", ()):
        query = item.get("CommonTableExpr", {})
        alias = {"aliasname": query.get("ctename", ""), "colnames": query.get("aliascolnames", [])}
        found[alias["aliasname"]] = {"subquery": query.get("ctequery", {}), "alias": alias}
    return found


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
            row += [one.node for one in _all_of(starred, known)]
    return [row]


def _all_of(starred: str, known: Sequence[Given]) -> list[Given]:
    """The columns of ``starred.*`` ("" for a bare star), of several rows those of the first."""
    first: dict[tuple[str, int], Given] = {}
    for one in known:
        if starred in ("", one.source):
            first.setdefault((one.source, one.number), one)
    return [
        one._replace(node={"Part": {**one.node["Part"], "path": [*one.node["Part"]["path"], "*"]}})
        if one.column == "*" and "Part" in one.node
        else one
        for one in first.values()
    ]


def _starred(node: Node) -> str | None:
    """The source of ``source.*`` and ``(source).*``, "" for a bare star, None for anything else."""
    if not isinstance(node, dict):
        return None
    taken = node.get("A_Indirection", {})
    if [list(step) for step in taken.get("indirection", ())] == [["A_Star"]]:
        names = named(taken.get("arg", {}))
        return names[0] if len(names) == 1 else None
    fields = node.get("ColumnRef", {}).get("fields", ())
    if not fields or "A_Star" not in fields[-1]:
        return None
    return str(fields[-2].get("String", {}).get("sval", "")) if len(fields) > 1 else ""


def _of_item(item: Node, queries: dict[str, Node]) -> Iterator[Given]:
    if not isinstance(item, dict):
        return
    if "JoinExpr" in item:
        yield from _of_item(item["JoinExpr"].get("larg"), queries)
        yield from _of_item(item["JoinExpr"].get("rarg"), queries)
    name = item.get("RangeVar", item).get("relname", "")
    named_query = queries.get(name)
    if named_query is not None:
        alias = {**named_query["alias"], **item.get("RangeVar", item).get("alias", {})}
        item = {"RangeSubselect": {**named_query, "alias": alias}}
        queries = {other: query for other, query in queries.items() if other != name}  # one may name itself
    for key, columns in (
        ("RangeSubselect", _of_subselect), ("RangeFunction", _of_function), ("JsonTable", _of_json_table),
    ):  # fmt: skip
        source = item.get(key, {})
        alias = source.get("alias", {})
        called = texts(alias.get("colnames", ()))
        for number, column, node in columns(source, alias.get("aliasname", ""), queries) if source else ():
            told = called[number] if number < len(called) and column != "*" else column
            yield Given(alias.get("aliasname", ""), number, told, node)


_Columns = Iterator[tuple[int, str, Node]]


def _of_subselect(source: Node, _: str, queries: dict[str, Node]) -> _Columns:
    select = source.get("subquery", {}).get("SelectStmt", {})
    for row in select.get("valuesLists", ()):
        for number, node in enumerate(row.get("List", {}).get("items", ())):
            yield number, f"column{number + 1}", node
    inner = given(select, None, queries)
    number = 0
    for target in select.get("targetList", ()):
        value = target.get("ResTarget", {})
        starred = _starred(value.get("val", {}))
        if starred is None:
            name = value.get("name", "") or (named(value.get("val", {})) or [""])[-1]
            for node in _in_terms_of(value.get("val", {}), inner):
                yield number, name, node
            number += 1
            continue
        listed = _all_of(starred, inner)
        for one in listed:
            yield number, one.column, one.node
            number += 1
        if not listed or _unlisted(select, starred, inner):
            return  # how many columns stand before the next one cannot be told


def _unlisted(select: Node, starred: str, inner: Sequence[Given]) -> bool:
    """Whether the star stands for columns of a relation, too, which only the catalog knows."""
    sources = {one.source for one in inner}
    return not starred and (
        len(select.get("fromClause", ())) != len(sources) or any(one.column == "*" for one in inner)
    )


def _in_terms_of(node: Node, inner: Sequence[Given]) -> list[Node]:
    """``node``, with what ``inner`` gives in the place of its names: once for each row that a source of several gives."""
    most = max((len(traced(name, inner)) for name in _names_in(node)), default=1)
    return [_replaced(node, inner, turn) for turn in range(most)]


def _names_in(node: Node) -> Iterator[Node]:
    if isinstance(node, list):
        for child in node:
            yield from _names_in(child)
    elif isinstance(node, dict):
        if "ColumnRef" in node:
            yield node
        elif "SubLink" not in node:  # there names have a scope of their own
            for child in node.values():
                yield from _names_in(child)


def _replaced(node: Node, inner: Sequence[Given], turn: int) -> Node:
    if isinstance(node, list):
        return [_replaced(child, inner, turn) for child in node]
    if not isinstance(node, dict) or "SubLink" in node:
        return node
    if "ColumnRef" in node:
        values = traced(node, inner)
        return values[turn % len(values)]
    return {key: _replaced(child, inner, turn) for key, child in node.items()}


_TO_RECORDS = {
    "json_to_record": (),
    "jsonb_to_record": (),
    "json_to_recordset": (0,),
    "jsonb_to_recordset": (0,),
}
_POPULATES = {
    "json_populate_record": (), "jsonb_populate_record": (), "json_populate_recordset": (0,), "jsonb_populate_recordset": (0,),
}  # fmt: skip
_ELEMENTS = (
    "json_array_elements", "jsonb_array_elements", "json_array_elements_text", "jsonb_array_elements_text",
)  # fmt: skip


def _of_function(source: Node, alias: str, _: dict[str, Node]) -> _Columns:
    """Columns of ``unnest``, each as if it were called for that array alone, and of what takes JSON apart. Other functions give nobody knows what."""
    for function in source.get("functions", ()):
        items: list[Node] = function.get("List", {}).get("items", [])
        call = items[0].get("FuncCall", {}) if items else {}
        name, args = (texts(call.get("funcname", ())) or [""])[-1], call.get("args", ())
        defined = source.get("coldeflist") or (
            items[1].get("List", {}).get("items", ()) if len(items) > 1 else ()
        )
        if name == "unnest":
            yield from _of_unnest(call, args, alias)
        elif name in _TO_RECORDS and len(args) == 1:
            for number, item in enumerate(defined):
                column = item.get("ColumnDef", {})
                kind = _kind(column.get("typeName", {}))
                key = column.get("colname", "")
                yield number, key, part(args[0], *_TO_RECORDS[name], key, kind=kind)
        elif name in _POPULATES and len(args) == 2:
            row = args[0].get("TypeCast", {}).get("typeName")
            if row:
                yield 0, "*", part(args[1], *_POPULATES[name], record=row)
        elif name in _ELEMENTS and len(args) == 1:
            for column in dict.fromkeys(("value", alias or name)):
                yield 0, column, part(args[0], 0)
        else:
            return


def _of_unnest(call: Node, arrays: Sequence[Node], alias: str) -> _Columns:
    for number, array in enumerate(arrays):
        name = (alias or "unnest") if len(arrays) == 1 else "unnest"
        yield number, name, {"FuncCall": {**call, "args": [array]}}
    if len(arrays) == 1 and "TypeCast" in arrays[0]:
        yield 0, "*", part(arrays[0], 0, record=arrays[0]["TypeCast"].get("typeName"))


def _kind(name: Node) -> str:
    return type_of(name)[1] + ("[]" if name.get("arrayBounds") else "")


def _of_json_table(source: Node, _: str, __: dict[str, Node]) -> _Columns:
    rows_at = json_path(
        source.get("pathspec", {}).get("string", {}).get("A_Const", {}).get("sval", {}).get("sval")
    )
    if rows_at is not None:
        listed = list(_json_columns(source.get("columns", ()), rows_at))
        for number, (name, path, kind) in enumerate(listed):
            yield number, name, {} if path is None else part(context(source), *path, kind=kind)


def _json_columns(columns: Node, at: list[str | int]) -> Iterator[tuple[str, list[str | int] | None, str]]:
    """The columns of a JSON_TABLE, those of NESTED ones in their places: name, path from the whole document, type."""
    for item in columns:
        column = item.get("JsonTableColumn", {})
        name = column.get("name", "")
        said = column.get("pathspec", {}).get("string", {}).get("A_Const", {}).get("sval", {}).get("sval")
        path = [name] if said is None else json_path(said)
        if column.get("coltype") == "JTC_NESTED":
            yield from _json_columns(column.get("columns", ()), at if path is None else [*at, *path])
        elif column.get("coltype") in ("JTC_REGULAR", "JTC_FORMATTED") and path is not None:
            yield name, [*at, *path], _kind(column.get("typeName", {}))
        else:
            yield name, None, ""
