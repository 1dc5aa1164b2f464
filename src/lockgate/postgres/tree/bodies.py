"""What the body of a function, a procedure or a DO block runs: its statements, and where it keeps a secret."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from msgspec import Raw, Struct, json

from lockgate.postgres.tree.library import SyntaxProblem
from lockgate.postgres.tree.plpgsql import pieces_of
from lockgate.postgres.tree.reader import read_node, statements_of
from lockgate.postgres.tree.words import DoBlock, Routine, Statement


class Step(Struct, frozen=True):
    """One statement of a body, or None where the body cannot be read: ``closed`` says why.

    ``certain``: it runs whenever the body does.
    """

    statement: Statement | None
    certain: bool = True
    closed: str = ""


def steps_of(word: Routine | DoBlock, event: str = "") -> tuple[Step, ...]:
    """The steps of a body in order; ``event`` is what fired it, of a trigger function."""
    if isinstance(word, DoBlock):
        return _steps(word.language, word.body, (), "void", "")
    if word.tree:
        return _kept(word.tree)
    return _steps(word.language, word.body, word.arguments, word.returns, event)


@lru_cache(maxsize=512)
def _kept(tree: str) -> tuple[Step, ...]:
    return tuple([Step(statement) for statement in _atomic(json.decode(tree))])


def _atomic(body: Any) -> Iterator[Statement]:
    """The statements of BEGIN ATOMIC, or the query that RETURN makes of its expression."""
    if isinstance(body, list):
        for item in body:
            yield from _atomic(item)
        return
    for kind, node in body.items():
        if kind == "List":
            yield from _atomic(node.get("items", []))
        elif kind == "ReturnStmt":
            target = {"ResTarget": {"val": node.get("returnval", {})}}
            yield from _atomic({"SelectStmt": {"targetList": [target]}})
        else:
            yield read_node(kind, Raw(json.encode(node)))


@lru_cache(maxsize=512)
def _steps(
    language: str, body: str, arguments: tuple[str, ...], returns: str, event: str
) -> tuple[Step, ...]:
    if language == "sql":
        return tuple(_read(body, certain=True))
    if language != "plpgsql":
        return (Step(None, True, f"its body is {language or 'of an unknown language'}"),)
    steps: list[Step] = []
    for piece in pieces_of(body, arguments, returns, event):
        if piece.closed:
            steps.append(Step(None, piece.certain, piece.closed))
        else:
            steps += _read(piece.text, certain=piece.certain)
    return tuple(steps)


def _read(text: str, *, certain: bool) -> list[Step]:
    try:
        return [Step(located.statement, certain) for located in statements_of(text)]
    except SyntaxProblem as problem:
        return [Step(None, certain, f"a piece of its body is not read: {problem.message}")]
