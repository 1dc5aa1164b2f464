"""Parts of JSON documents and of rows, as a query reads them: ``$1->>'nick'``, ``($1::users).nick``, ``json_value($1, '$.nick')``.

A source gives its columns as parts, too: ``{"Part": {"of": node, "path": [0, "nick"]}}`` is what ``jsonb_to_recordset`` takes the
column ``nick`` of its first row from. Pure trees.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

Node = Any


class Given(NamedTuple):
    """One value of a column of a source; a source of several rows gives one for each of them. ``number`` counts its columns from 0.

    The column ``*`` stands for all columns of a row whose type only the catalog knows; its node is a part.
    """

    source: str
    number: int
    column: str
    node: Node


class Piece(NamedTuple):
    """A parameter, or the part of it to which ``path`` leads. ``kind`` is the type that the query casts it to, "" where it says none.

    ``record`` is the type (schema, name) of the row that it is a part of, where it is one.
    """

    number: int
    path: tuple[str | int, ...] = ()
    kind: str = ""
    record: tuple[str, str] | None = None


def part(of: Node, *path: str | int, kind: str = "", record: Node = None) -> Node:
    """The node of a part. ``record`` is the TypeName of the row that it is a part of."""
    return {"Part": {"of": of, "path": list(path), "kind": kind, "record": record}}


def texts(names: Node) -> list[str]:
    """The words of a list of String nodes; "" for what is none."""
    return [str(name.get("String", {}).get("sval", "")) for name in names]


def named(node: Node) -> list[str]:
    """The parts of a column's name, [] for what is none."""
    return texts(node.get("ColumnRef", {}).get("fields", ())) if isinstance(node, dict) else []


def traced(node: Node, known: Sequence[Given]) -> list[Node]:
    """The values that ``node`` stands for: those of the source's column where it is the name of one; else itself."""
    names = named(node)
    if names and names[-1] and len(names) < 3:
        found = [g.node for g in known if g.column == names[-1] and names[:-1] in ([], [g.source])]
        found = found or _of_row(names, known)
        if found:
            return found
    alone = _alone(node)
    return [node] if alone is None else [alone]


def _of_row(names: list[str], known: Sequence[Given]) -> list[Node]:
    """The column of a source that gives whole rows. A bare name is one only where there is one such source."""
    rows = [g for g in known if g.column == "*" and names[:-1] in ([], [g.source])]
    if len(rows) != 1:
        return []
    inner = rows[0].node["Part"]
    return [{"Part": {**inner, "path": [*inner["path"], names[-1]]}}]


def _alone(node: Node) -> Node:
    """The value of ``(SELECT value)``, None for anything else."""
    link = node.get("SubLink", {}) if isinstance(node, dict) else {}
    select = link.get("subselect", {}).get("SelectStmt", {})
    if link.get("subLinkType") != "EXPR_SUBLINK" or "fromClause" in select:
        return None
    targets = select.get("targetList", ())
    return targets[0].get("ResTarget", {}).get("val") if len(targets) == 1 else None


_STEPS = ("->", "->>")
_PATHS = ("#>", "#>>")
_EXTRACTS = re.compile(r"jsonb?_extract_path(_text)?")


def piece_of(node: Node, known: Sequence[Given] = ()) -> Piece | None:
    """The parameter that ``node`` is, or is a part of, through casts and names of ``known``; None for anything else."""
    if not isinstance(node, dict):
        return None
    if "ParamRef" in node:
        return Piece(node["ParamRef"].get("number", 0))
    if "TypeCast" in node:
        return _cast(node["TypeCast"], known)
    if "Part" in node:
        inner = node["Part"]
        found = piece_of(inner["of"], known)
        record = type_of(inner["record"]) if inner["record"] else None
        return found and Piece(found.number, (*found.path, *inner["path"]), inner["kind"], record)
    if "ColumnRef" in node:
        (value, *_) = traced(node, known)
        return None if value is node else piece_of(value, ())
    of, path = _steps(node)
    if not path:
        return None
    of = traced(of, known)[0]
    array = elements_of(of)
    found = piece_of(of if array is None else array, known)
    if found is None:
        return None
    whole = (*found.path, *(() if array is None else (0,)))
    return Piece(found.number, (*whole, *path), "", found.record if "A_Indirection" in node else None)


def _cast(cast: Node, known: Sequence[Given]) -> Piece | None:
    found = piece_of(cast.get("arg", {}), known)
    if found is None:
        return None
    schema, name = type_of(cast.get("typeName", {}))
    many = "[]" if cast.get("typeName", {}).get("arrayBounds") else ""
    # Of a parameter the type of the row; of a part the type that its value gets.
    return found._replace(kind=name + many) if found.path else found._replace(record=(schema, name))


def type_of(name: Node) -> tuple[str, str]:
    """Schema and name of a type, without the brackets of an array; "" for a schema that is not told, or is the server's own."""
    parts = ["", *texts(name.get("names", ()))]
    return (parts[-2] if parts[-2] != "pg_catalog" else "", parts[-1]) if len(parts) > 1 else ("", "")


def _steps(node: Node) -> tuple[Node, list[str | int]]:
    """What a document or row is taken apart by: the whole, and the path to the part; no path for anything else."""
    if "A_Expr" in node:
        expression = node["A_Expr"]
        operator = texts(expression.get("name", ()))[-1:]
        key = constant(expression.get("rexpr", {}))
        if key is None or operator[0] not in (*_STEPS, *_PATHS):
            return None, []
        if operator[0] in _STEPS:
            return expression.get("lexpr", {}), [key]
        return expression.get("lexpr", {}), _braced(str(key))
    if "A_Indirection" in node:
        return node["A_Indirection"].get("arg", {}), _indirection(
            node["A_Indirection"].get("indirection", ())
        )
    if "FuncCall" in node:
        call = node["FuncCall"]
        name, args = texts(call.get("funcname", ()))[-1], call.get("args", ())
        keys = [constant(arg) for arg in args[1:]]
        if _EXTRACTS.fullmatch(name) and keys and None not in keys:
            return args[0], [_place(str(key)) for key in keys]
    if "JsonFuncExpr" in node:
        call = node["JsonFuncExpr"]
        return context(call), json_path(constant(call.get("pathspec", {}))) or []
    return None, []


def _indirection(steps: Node) -> list[str | int]:
    path: list[str | int] = []
    for step in steps:
        key: str | int | None
        if "A_Star" in step:
            key = "*"
        elif "String" in step:
            key = step["String"].get("sval", "")
        else:
            key = constant(step.get("A_Indices", {}).get("uidx", {}))
        if key is None or (isinstance(key, int) and "A_Indices" in step and key < 0):
            return []
        path.append(key)
    return path


def constant(node: Node) -> str | int | None:
    """The text or whole number that ``node`` says, through casts."""
    while isinstance(node, dict) and "TypeCast" in node:
        node = node["TypeCast"].get("arg", {})
    value = node.get("A_Const", {}) if isinstance(node, dict) else {}
    if "sval" in value:
        return str(value["sval"].get("sval", ""))
    return int(value["ival"].get("ival", 0)) if "ival" in value else None


def _braced(text: str) -> list[str | int]:
    """The path in ``{a,0,b}``; [] for one that is written in another way."""
    return [_place(word) for word in text[1:-1].split(",")] if re.fullmatch(r"\{\w+(,\w+)*\}", text) else []


def _place(word: str) -> str | int:
    return int(word) if word.isdigit() else word


_PATH = re.compile(r"\s*(?:strict|lax)?\s*\$((?:\.\w+|\.\"[^\"\\]+\"|\[(?:\*|\d+)\])*)\s*")
_STEP = re.compile(r"\.(\w+)|\.\"([^\"\\]+)\"|\[(\*|\d+)\]")


def json_path(text: str | int | None) -> list[str | int] | None:
    """The path in ``$.items[*].nick``, of ``[*]`` the first place; None for one with filters or functions."""
    found = _PATH.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    steps = _STEP.finditer(found[1])
    return [step[1] or step[2] or (0 if step[3] == "*" else int(step[3])) for step in steps]


def context(node: Node) -> Node:
    """The document that a function of SQL/JSON reads."""
    return node.get("context_item", {}).get("raw_expr", {})


_ELEMENTS = re.compile(r"unnest|jsonb?_array_elements(_text)?")


def elements_of(node: Node) -> Node:
    """The array whose elements the call of a function gives, one a row; None for anything else."""
    call = node.get("FuncCall", {}) if isinstance(node, dict) else {}
    args = call.get("args", ())
    name = (texts(call.get("funcname", ())) or [""])[-1]
    return args[0] if len(args) == 1 and _ELEMENTS.fullmatch(name) else None


def record_of(node: Node) -> Node:
    """The array of rows whose columns ``unnest`` gives; None for anything else."""
    array = elements_of(node)
    return array if array is not None and "TypeCast" in array else None
