"""The static statements of a plpgsql body, in order, as far as the parser gives them.

libpg_query compiles a body only inside the statement that makes it, so a frame is put around it that declares the
arguments. Types do not matter there. What it prints is no JSON where a trigger's variables are listed, so the tree is
read from its action on, and the values that variables start with by themselves.
"""

import re
from typing import Any

from msgspec import Struct, json

from lockgate.postgres.tree.constants import BLANK
from lockgate.postgres.tree.library import SyntaxProblem, plpgsql_tree

Node = dict[str, Any]
_ACTION = b'"action":'
_DEFAULT = re.compile(rb'"default_val":(\{"PLpgSQL_expr":\{"query":"(?:[^"\\]|\\.)*"[^{}]*\}\})')
_TARGET = re.compile(r"\s*(?:[^\[\]:=]|\[[^\]]*\])*:?=")
_EVENT = re.compile(r"\s*\(?\s*tg_op\s*(?:=\s*('\w+')|in\s*\(([^()]*)\))\s*\)?\s*", re.IGNORECASE)
_OPERATION = re.compile(r"'(?:[^']|'')*'|\b(tg_op)\b", re.IGNORECASE)
_ERROR = 21
_NUMBER = re.compile(r"\s*(-?\d+)\s*")
_LITERAL = re.compile(r"\s*'((?:[^'\\]|'')*)'\s*")


class Piece(Struct, frozen=True):
    """One text that the body hands to the server. ``certain``: it runs whenever the body does."""

    text: str
    certain: bool
    # SQL that is put together while it runs, a cursor, or what else cannot be read: why.
    closed: str = ""


def pieces_of(body: str, arguments: tuple[str, ...], returns: str, event: str) -> list[Piece]:
    """What the body runs, for the trigger event ``event`` where there is one. A body that is no plpgsql is closed."""
    tag = "$body$"
    while tag in body:
        tag = f"{tag[:-1]}_$"
    frame = (
        f"CREATE FUNCTION f({', '.join(arguments)}) RETURNS {returns} LANGUAGE plpgsql AS {tag}{body}{tag}"
    )
    try:
        text = plpgsql_tree(frame.encode("utf-8", "surrogatepass"))
    except SyntaxProblem as problem:
        return [Piece("", True, f"its body is not read: {problem.message}")]
    found: list[Piece] = []
    at = text.find(_ACTION)
    if at < 0:
        return [Piece("", True, "its body is not read")]
    # A block inside declares with the others, and may not be reached.
    plain = text.count(b'"PLpgSQL_stmt_block"') == 1 and b'"exceptions"' not in text
    for match in _DEFAULT.finditer(text[:at]):
        found.append(_expression(json.decode(match[1]), certain=plain))
    # What follows the action are the brackets that close the function.
    action = json.decode(text[at + len(_ACTION) : text.rindex(b"}}", 0, len(text))])
    _Walk(found, event).run([action], certain=True)
    return [_fired_by(piece, event) for piece in found] if event else found


def _fired_by(piece: Piece, event: str) -> Piece:
    """TG_OP is a constant of the one event; texts in quotes stay as they are."""
    constant = f"'{event.upper()}'"
    text = _OPERATION.sub(lambda match: constant if match[1] else match[0], piece.text)
    return Piece(text, piece.certain, piece.closed)


def _text(expression: Node | None) -> str:
    return str((expression or {}).get("PLpgSQL_expr", {}).get("query", ""))


def _expression(expression: Node, *, certain: bool) -> Piece:
    inner = expression.get("PLpgSQL_expr", {})
    query, mode = str(inner.get("query", "")), inner.get("parseMode", 0)
    if mode in (3, 4, 5):  # an assignment
        match = _TARGET.match(query)
        target = match[0].rstrip().removesuffix("=").removesuffix(":") if match else ""
        query = query[match.end() :] if match else query
        # What stands between brackets of the target is worked out, too.
        query += f", {target}" if "[" in target else ""
        mode = 2
    return Piece(f"SELECT {query}" if mode == 2 else query, certain)


class _Walk:
    """One walk over the statements of a body."""

    def __init__(self, found: list[Piece], event: str) -> None:
        self.found = found
        self.event = event

    def run(self, statements: list[Node], *, certain: bool) -> bool:
        """Gather what the statements run; whether what follows them still runs for certain."""
        for statement in statements:
            ((kind, node),) = statement.items()
            handler = getattr(self, kind.removeprefix("PLpgSQL_stmt_"), None)
            if handler is None:
                self.found.append(Piece("", certain, f"it holds {kind.removeprefix('PLpgSQL_stmt_')}"))
            else:
                certain = handler(node, certain)
        return certain

    def _take(self, node: Node, *names: str, certain: bool) -> None:
        for name in names:
            if name in node:
                self.found.append(_expression(node[name], certain=certain))

    def block(self, node: Node, certain: bool) -> bool:
        handlers = node.get("exceptions", {}).get("PLpgSQL_exception_block", {}).get("exc_list", [])
        if not handlers:
            return self.run(node.get("body", []), certain=certain)
        # Whatever raises in it takes back all of it, and the handler goes on.
        self.run(node.get("body", []), certain=False)
        for handler in handlers:
            self.run(handler["PLpgSQL_exception"].get("action", []), certain=False)
        return certain and not _leaves(node)

    def assign(self, node: Node, certain: bool) -> bool:
        self._take(node, "expr", certain=certain)
        return certain

    def execsql(self, node: Node, certain: bool) -> bool:
        self._take(node, "sqlstmt", certain=certain)
        return certain

    perform = call = assign

    def assert_(self, node: Node, certain: bool) -> bool:
        self._take(node, "cond", certain=certain)
        return certain

    def getdiag(self, node: Node, certain: bool) -> bool:
        return certain

    close = fetch = getdiag

    def raise_(self, node: Node, certain: bool) -> bool:
        for item in node.get("params", ()):
            self.found.append(_expression(item, certain=certain))
        for item in node.get("options", ()):
            self._take(item["PLpgSQL_raise_option"], "expr", certain=certain)
        return certain and node.get("elog_level", 0) < _ERROR

    def exit(self, node: Node, certain: bool) -> bool:
        self._take(node, "cond", certain=certain)
        return False

    def return_(self, node: Node, certain: bool) -> bool:
        self._take(node, "expr", certain=certain)
        return False

    def return_next(self, node: Node, certain: bool) -> bool:
        self._take(node, "expr", certain=certain)
        return certain

    def return_query(self, node: Node, certain: bool) -> bool:
        self._take(node, "query", certain=certain)
        self._dynamic(node, "dynquery", certain)
        return certain

    def open(self, node: Node, certain: bool) -> bool:
        self._take(node, "query", certain=certain)
        self._dynamic(node, "dynquery", certain)
        if "query" not in node and "dynquery" not in node:
            self.found.append(Piece("", certain, "it opens a cursor"))
        return certain

    def dynexecute(self, node: Node, certain: bool) -> bool:
        self._dynamic(node, "query", certain)
        return certain

    def dynfors(self, node: Node, certain: bool) -> bool:
        self._dynamic(node, "query", certain)
        self.run(node.get("body", []), certain=False)
        return certain and not _leaves(node, loop=True)

    def _dynamic(self, node: Node, name: str, certain: bool) -> None:
        """EXECUTE of one literal is as good as the statement in it."""
        if name not in node:
            return
        literal = _LITERAL.fullmatch(_text(node[name]))
        if literal and BLANK not in literal[1]:
            self.found.append(Piece(literal[1].replace("''", "'"), certain))
        else:
            self.found.append(_expression(node[name], certain=certain))
            self.found.append(Piece("", certain, "it runs SQL that is put together from text"))

    def if_(self, node: Node, certain: bool) -> bool:
        arms = [(node.get("cond"), node.get("then_body", []))]
        arms += [
            (arm["PLpgSQL_if_elsif"].get("cond"), arm["PLpgSQL_if_elsif"].get("stmts", []))
            for arm in node.get("elsif_list", ())
        ]
        sure = certain
        for cond, body in arms:
            known = self._decided(_text(cond))
            if known is True:
                after = self.run(body, certain=sure)
                return after if sure else certain and not _leaves(node)
            if known is None:
                self.found.append(_expression(cond or {}, certain=sure))
                self.run(body, certain=False)
                sure = False
        after = self.run(node.get("else_body", []), certain=sure)
        return after if sure else certain and not _leaves(node)

    def _decided(self, condition: str) -> bool | None:
        """What TG_OP says by itself."""
        match = _EVENT.fullmatch(condition) if self.event else None
        if match is None:
            return None
        return f"'{self.event.upper()}'" in (match[1] or match[2]).upper()

    def case(self, node: Node, certain: bool) -> bool:
        self._take(node, "t_expr", certain=certain)
        arms = [arm["PLpgSQL_case_when"] for arm in node.get("case_when_list", ())]
        for arm in arms:
            self._take(arm, "expr", certain=False)
            self.run(arm.get("stmts", []), certain=False)
        self.run(node.get("else_stmts", []), certain=False)
        return certain and not _leaves(node)

    def loop(self, node: Node, certain: bool) -> bool:
        self.run(node.get("body", []), certain=certain)
        return certain and not _leaves(node, loop=True)

    def while_(self, node: Node, certain: bool) -> bool:
        self._take(node, "cond", certain=certain)
        self.run(node.get("body", []), certain=False)
        return certain and not _leaves(node, loop=True)

    def fori(self, node: Node, certain: bool) -> bool:
        self._take(node, "lower", "upper", "step", certain=certain)
        low, high = (_NUMBER.fullmatch(_text(node.get(side))) for side in ("lower", "upper"))
        turns = (
            low is not None and high is not None and not node.get("reverse") and int(low[1]) <= int(high[1])
        )
        self.run(node.get("body", []), certain=certain and turns)
        return certain and not _leaves(node, loop=True)

    def fors(self, node: Node, certain: bool) -> bool:
        self._take(node, "query", certain=certain)
        self.run(node.get("body", []), certain=False)
        return certain and not _leaves(node, loop=True)

    def foreach_a(self, node: Node, certain: bool) -> bool:
        self._take(node, "expr", certain=certain)
        self.run(node.get("body", []), certain=False)
        return certain and not _leaves(node, loop=True)


# Names of statements that are words of this language too.
for _name in ("assert", "raise", "return", "if", "while"):
    setattr(_Walk, _name, getattr(_Walk, f"{_name}_"))


def _leaves(node: Any, *, loop: bool = False) -> bool:
    """Whether the body may return below, or leave a loop or block around; ``loop``: what only leaves it does not count."""
    if isinstance(node, list):
        return any(_leaves(item, loop=loop) for item in node)
    if not isinstance(node, dict):
        return False
    if "PLpgSQL_stmt_exit" in node and not (loop and "label" not in node["PLpgSQL_stmt_exit"]):
        return True
    return "PLpgSQL_stmt_return" in node or any(_leaves(item, loop=loop) for item in node.values())
