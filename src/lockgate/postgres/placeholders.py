"""The queries of a file, and what each of their parameters stands for: a column that is written, one that is looked for, a limit."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from lockgate.postgres.copied import Copied, copied_in
from lockgate.postgres.documents import Given, piece_of, record_of, traced
from lockgate.postgres.script import ScriptError, split
from lockgate.postgres.sources import given, nth, rows
from lockgate.postgres.tree.library import SyntaxProblem, tree_json

Node = Any

KINDS = {
    "select_stmt": "read",
    "insert_stmt": "write",
    "update_stmt": "write",
    "delete_stmt": "write",
    "merge_stmt": "write",
}
"""Kinds of statement that the server can prepare, and whether they read or write."""


class Field(NamedTuple):
    """What a part of a JSON document or of a row stands for; ``path`` leads to it, a number is a place in an array. The rest is as in ``Use``.

    ``kind`` is the type that the query gives it, "" where it says none. A part of a row is of the type ``record`` (schema, name). Where ``path`` ends with
    ``*`` all columns of ``record`` are meant, in their order, written from ``position`` on, or into ``names``.
    """

    path: tuple[str | int, ...]
    role: str
    relations: tuple[tuple[str, str], ...] = ()
    column: str = ""
    position: int = -1
    kind: str = ""
    record: tuple[str, str] | None = None
    names: tuple[str, ...] = ()


class Use(NamedTuple):
    """What ``$number`` stands for. ``role`` is insert, set, within, operand, filter, limit or other; ``relations`` are tried in order.

    ``within`` is an argument of a function whose value is written into the column, ``operand`` one of an operator.

    ``column`` is "" where none is named; then ``position`` (from 0) tells the column of an INSERT without a list.
    ``many`` says that an array is wanted. ``fields`` are what its parts stand for, where it is a document or a row.
    """

    number: int
    role: str
    relations: tuple[tuple[str, str], ...] = ()
    column: str = ""
    position: int = -1
    many: bool = False
    fields: tuple[Field, ...] = ()

    @property
    def every(self) -> "tuple[Use, ...]":
        """What it stands for as a whole, and what each of its parts does."""
        parts = (Use(self.number, f.role, f.relations, f.column, f.position) for f in self.fields)
        return (self, *parts)


class Query(NamedTuple):
    """One query: its text without the semicolon, its first line, read or write, its parameters in order, and the columns that it copies."""

    text: str
    line: int
    kind: str
    uses: tuple[Use, ...]
    copied: tuple[Copied, ...] = ()


def queries_of(text: str) -> list[Query]:
    """The queries of ``text``, in order. Raises ``ScriptError`` for what is not SQL or cannot be prepared."""
    found = []
    for statement in split(text):
        kind = KINDS.get(statement.kind)
        if kind is None:
            raise ScriptError(
                "FILE_SYNTAX",
                statement.line,
                f"{' '.join(statement.text.split()[:2])[:40]}: only SELECT, INSERT, UPDATE, DELETE and MERGE can be prepared",
            )
        body = statement.text.strip()
        found.append(Query(body, statement.line, kind, uses_of(body), copied_by(body)))
    return found


def uses_of(text: str) -> tuple[Use, ...]:
    """The parameters of one query, by number. Empty where it cannot be parsed: the server will say why."""
    try:
        tree = json.loads(tree_json(text.encode()))
    except (SyntaxProblem, ValueError):
        return ()
    uses: dict[int, Use] = {}
    for item in tree.get("stmts", ()):
        _walk(item.get("stmt", {}), (), uses)
    top = max(uses, default=0)
    return tuple(uses.get(number, Use(number, "other")) for number in range(1, top + 1))


def copied_by(text: str) -> tuple[Copied, ...]:
    """The columns that one query copies from rows into rows. Empty where it cannot be parsed."""
    try:
        return copied_in(json.loads(tree_json(text.encode())))
    except (SyntaxProblem, ValueError):
        return ()


_UNBOUND = {"character": "bpchar", "bit": '"bit"'}
"""Types that mean one of a length of 1 where SQL names them so."""


def typed(text: str, types: Sequence[str]) -> str:
    """``text`` with every ``$n`` cast to the n-th of ``types``, so that it says by itself what a PREPARE was told (unknown says nothing); as it is where it cannot be parsed."""
    try:
        tree = json.loads(tree_json(text.encode()))
    except (SyntaxProblem, ValueError):
        return text
    body = text.encode()
    for place, number in sorted(_places(tree), reverse=True):
        mark = f"${number}".encode()
        if number <= len(types) and types[number - 1] != "unknown" and body.startswith(mark, place):
            bare = types[number - 1].removesuffix("[]")
            kind = _UNBOUND.get(bare, bare) + types[number - 1][len(bare) :]
            body = b"%s(%s::%s)%s" % (body[:place], mark, kind.encode(), body[place + len(mark) :])
    return body.decode()


def _places(node: Node) -> Iterator[tuple[int, int]]:
    """Where parameters stand, by byte, and their numbers; each once, though the tree may hold a node twice."""
    pending, found = [node], set()
    while pending:
        one = pending.pop()
        if isinstance(one, list):
            pending += one
        elif isinstance(one, dict):
            for key, value in one.items():
                if key == "ParamRef" and "number" in value:
                    found.add((value.get("location", 0), value["number"]))
                pending.append(value)
    return iter(found)


def _walk(
    node: Node, around: tuple[tuple[str, str, str], ...], uses: dict[int, Use], known: tuple[Given, ...] = ()
) -> None:
    """Collect parameters below ``node``; ``around`` are the relations in sight, nearest first: (alias, schema, name), ``known`` what sources give."""
    if isinstance(node, list):
        for child in node:
            _walk(child, around, uses, known)
        return
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        inside = around
        if key in ("SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"):
            inside = (*_relations(value), *around)
            known = given(value)
        if key == "InsertStmt":
            _insert(value, uses)
        elif key == "UpdateStmt":
            _assignments(value.get("targetList", ()), inside[:1], known, uses)
        elif key == "A_Expr":
            _comparison(value, inside, known, uses)
        elif key == "onConflictClause":
            _assignments(value.get("targetList", ()), inside[:1], (), uses)
        elif key == "MergeStmt":
            _merge(value, inside[:1], known, uses)
        elif key in ("limitCount", "limitOffset"):
            _note(uses, value, "limit", (), "")
        elif key == "ParamRef":
            _note(uses, {"ParamRef": value}, "other", (), "")
        _walk(value, inside, uses, known)


def _relations(statement: Node) -> list[tuple[str, str, str]]:
    """Relations that a statement names at its own level: the target first."""
    found = []
    for key in ("relation", "fromClause", "usingClause", "sourceRelation"):
        for item in _range_vars(statement.get(key)):
            alias = item.get("alias", {}).get("aliasname", "") or item["relname"]
            found.append((alias, item.get("schemaname", ""), item["relname"]))
    return found


def _range_vars(node: Node) -> Iterator[dict[str, Any]]:
    if isinstance(node, list):
        for child in node:
            yield from _range_vars(child)
    elif isinstance(node, dict):
        if "relname" in node:
            yield node
            return
        for key, child in node.items():
            if key not in ("RangeSubselect", "quals"):
                yield from _range_vars(child)


def _insert(statement: Node, uses: dict[int, Use]) -> None:
    relation = statement.get("relation", {})
    names = [c.get("ResTarget", {}).get("name", "") for c in statement.get("cols", ())]
    table = ((relation.get("schemaname", ""), relation.get("relname", "")),)
    select = statement.get("selectStmt", {}).get("SelectStmt", {})
    known = given(select, statement)
    for row in rows(select, known):
        _cells(row, table, names, known, uses)


def _cells(
    row: Sequence[Node], table: tuple[tuple[str, str], ...], names: list[str], known: Sequence[Given], uses: dict[int, Use],
) -> None:  # fmt: skip
    """One row that is inserted; without ``names`` its values go into the columns in their order."""
    for number, cell in enumerate(row):
        column = names[number] if number < len(names) else ""
        position = -1 if names else number
        for node in traced(cell, known):
            here = known if node is cell else ()
            if _star(uses, node, table, names[number:], number, here):
                return  # how many columns that fills, only the catalog tells
            if not _note(uses, node, "insert", table, column, position=position, known=here):
                _within(uses, node, table, column, here, position=position)


def _star(
    uses: dict[int, Use], node: Node, table: tuple[tuple[str, str], ...], names: list[str], position: int, known: Sequence[Given],
) -> bool:  # fmt: skip
    """Note all columns of a row that go into the table from ``position`` on; True where nothing else can come of it."""
    array = record_of(node)
    piece = piece_of(node if array is None else array, known)
    if piece is None or piece.record is None or (array is None and piece.path[-1:] != ("*",)):
        return False
    path = piece.path if array is None else (*piece.path, 0, "*")
    _part(uses, piece.number, Field(path, "insert", table, "", position, "", piece.record, tuple(names)))
    return array is None


def _merge(
    statement: Node, around: tuple[tuple[str, str, str], ...], known: Sequence[Given], uses: dict[int, Use]
) -> None:
    """What each WHEN of a MERGE writes into its target."""
    table = tuple((schema, name) for _, schema, name in around)
    for item in statement.get("mergeWhenClauses", ()):
        clause = item.get("MergeWhenClause", {})
        targets = clause.get("targetList", ())
        if clause.get("commandType") == "CMD_INSERT":
            names = [target.get("ResTarget", {}).get("name", "") for target in targets]
            _cells(clause.get("values", ()), table, names, known, uses)
        else:
            _assignments(targets, around, known, uses)


_INSIDE = {
    "FuncCall": ("args",),
    "CoalesceExpr": ("args",),
    "MinMaxExpr": ("args",),
    "CaseExpr": ("args", "defresult"),
    "CaseWhen": ("result",),
    "A_Expr": ("lexpr", "rexpr"),
    "BoolExpr": ("args",),
    "RowExpr": ("args",),
    "A_ArrayExpr": ("elements",),
    "NamedArgExpr": ("arg",),
    "TypeCast": ("arg",),
    "CollateClause": ("arg",),
}
"""Where the values stand that make the value of an expression."""


def _within(
    uses: dict[int, Use],
    node: Node,
    relations: tuple[tuple[str, str], ...],
    column: str,
    known: Sequence[Given],
    *,
    position: int = -1,
    role: str = "within",
) -> None:
    """Parameters of an expression that is written into a column: ``lower($1)``, ``coalesce($1, x)``, ``total + $1``."""
    if not isinstance(node, dict):
        return
    for key, parts in _INSIDE.items():
        if key not in node:
            continue
        inside = "operand" if key == "A_Expr" and node[key].get("kind") != "AEXPR_NULLIF" else role
        inner = [node[key].get(part, ()) for part in parts]
        for one in [item for part in inner for item in (part if isinstance(part, list) else [part])]:
            for value in traced(one, known):
                # What a source gives is written in that source's own terms: its names are not looked up here again.
                deeper = known if value is one else ()
                if key != "TypeCast" and _note(
                    uses, value, inside, relations, column, position=position, known=deeper
                ):
                    continue
                _within(uses, value, relations, column, deeper, position=position, role=inside)


def _assignments(
    targets: Node, around: tuple[tuple[str, str, str], ...], known: Sequence[Given], uses: dict[int, Use]
) -> None:
    for item in targets:
        target = item.get("ResTarget", {})
        relations = tuple((schema, name) for _, schema, name in around)
        given_here = _one_of_many(target.get("val", {}))
        for value in traced(given_here, known):
            here = known if value is given_here else ()
            if not _note(uses, value, "set", relations, target.get("name", ""), known=here):
                _within(uses, value, relations, target.get("name", ""), here)


def _one_of_many(value: Node) -> Node:
    """The value of one column of ``SET (a, b) = ROW($1, $2)``; any other as it is."""
    part = value.get("MultiAssignRef") if isinstance(value, dict) else None
    return value if part is None else nth(part.get("source", {}), part.get("colno", 0)) or value


def _comparison(
    expression: Node, around: tuple[tuple[str, str, str], ...], known: Sequence[Given], uses: dict[int, Use]
) -> None:
    left, right = expression.get("lexpr", {}), expression.get("rexpr", {})
    many = expression.get("kind") in ("AEXPR_OP_ANY", "AEXPR_OP_ALL")
    for one, other in ((left, right), (right, left)):
        named = _column(one, around)
        if named is None:
            continue
        items = other.get("List", {}).get("items", [other]) if isinstance(other, dict) else [other]
        for item in items:
            for value in traced(_inner(item), known):
                _note(uses, value, "filter", named[0], named[1], many=many, known=known)


def _column(
    node: Node, around: tuple[tuple[str, str, str], ...]
) -> tuple[tuple[tuple[str, str], ...], str] | None:
    """The column that ``node`` is, through casts and functions of one argument: (relations to look in, its name)."""
    node = _inner(node)
    fields = node.get("ColumnRef", {}).get("fields", ()) if isinstance(node, dict) else ()
    names = [field.get("String", {}).get("sval", "") for field in fields]
    if not names or not names[-1]:
        return None
    if len(names) > 1:
        matching = [(schema, name) for alias, schema, name in around if alias == names[-2]]
        return tuple(matching or [("", names[-2])]), names[-1]
    return tuple((schema, name) for _, schema, name in around), names[-1]


def _inner(node: Node) -> Node:
    """What stands inside casts and functions of one argument."""
    while isinstance(node, dict):
        if "TypeCast" in node:
            node = node["TypeCast"].get("arg", {})
        elif "FuncCall" in node and len(node["FuncCall"].get("args", ())) == 1:
            node = node["FuncCall"]["args"][0]
        else:
            break
    return node


def _note(
    uses: dict[int, Use],
    node: Node,
    role: str,
    relations: tuple[tuple[str, str], ...],
    column: str,
    *,
    position: int = -1,
    many: bool = False,
    known: Sequence[Given] = (),
) -> bool:
    """Note what the parameter that ``node`` is, or is a part of, stands for; True where it is one."""
    piece = piece_of(node, known)
    if piece is None:
        return False
    if piece.path:
        field = Field(piece.path, role, relations, column, position, piece.kind, piece.record)
        _part(uses, piece.number, field)
        return True
    there = uses.get(piece.number, Use(piece.number, "other"))
    if there.role == "other":
        uses[piece.number] = Use(piece.number, role, relations, column, position, many, there.fields)
    return True


def _part(uses: dict[int, Use], number: int, field: Field) -> None:
    there = uses.get(number, Use(number, "other"))
    if field not in there.fields:
        uses[number] = there._replace(fields=(*there.fields, field))
