"""The parser's tree as plain JSON values, and the few ways in which the engine reads it.

A node is a mapping of its fields; what is at its default is left out. Where a node may be of several kinds it is wrapped:
``{"A_Const": {...}}``.
"""

import contextlib
import re
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from lockgate.postgres.chains import LONGEST, find_long_chain
from lockgate.postgres.script.statement import ScriptError
from lockgate.postgres.tree.library import SyntaxProblem, tree_json

Node = Mapping[str, Any]
"""The fields of a node."""

_decode = msgspec.json.Decoder().decode
_META = re.compile(r"\\\S*")
_COPY_STDIN = re.compile(r"^[ \t]*copy\b[^;]{0,2000}\bfrom\s+stdin\b", re.IGNORECASE | re.MULTILINE)
_DEEP = 100_000
"""Levels of JSON that an expression of ``LONGEST`` parts may have, with room to spare."""
_DEEP_STACK = 256 * 1024 * 1024
"""Bytes of stack for that many levels; only what is used is ever mapped."""
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


def parse(text: str) -> list[Node]:
    """The statements of ``text``: ``stmt``, ``stmt_location`` and ``stmt_len`` (in bytes) each.

    Raises ``ScriptError``, also for what the parser would not survive.
    """
    nul = text.find("\0")
    if nul >= 0:  # the parser takes a C string and would not see what follows
        raise ScriptError("FILE_NUL", text.count("\n", 0, nul) + 1, "a NUL byte")
    try:
        source = text.encode()
        chain = find_long_chain(text)
        if chain is not None:
            line = source.count(b"\n", 0, chain) + 1
            raise ScriptError(
                "FILE_SIZE", line, f"an expression of more than {LONGEST} parts overflows the parser"
            )
        found: list[Node] = _tree(tree_json(source)).get("stmts", [])
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise ScriptError("FILE_ENCODING", line, "half of a surrogate pair") from None
    except SyntaxProblem as error:
        raise _explain(text, error) from None
    except RecursionError:
        raise ScriptError("FILE_SIZE", 1, "an expression is nested too deeply to be judged") from None
    return found


def _tree(json: bytes) -> Any:
    """The decoded tree. One level of an expression is two of JSON, and a deep one wants a deeper stack than ours."""
    try:
        return _decode(json)
    except RecursionError:
        found: list[Any] = []
        limit, size = sys.getrecursionlimit(), threading.stack_size(_DEEP_STACK)

        def decode() -> None:
            with contextlib.suppress(RecursionError):
                found.append(_decode(json))

        sys.setrecursionlimit(_DEEP)
        try:
            thread = threading.Thread(target=decode)
            thread.start()
        finally:
            threading.stack_size(size)
        thread.join()
        sys.setrecursionlimit(limit)
        if not found:
            raise
        return found[0]


def _explain(text: str, error: SyntaxProblem) -> ScriptError:
    """Name what people paste by mistake; else pass the parser's word on."""
    position = max(0, error.offset)
    line = text.count("\n", 0, position) + 1
    copy = _COPY_STDIN.search(text, 0, position + 1)
    if copy:
        return ScriptError(
            "FILE_COPY_STDIN",
            text.count("\n", 0, copy.start()) + 1,
            "COPY ... FROM STDIN carries data that only psql can send",
        )
    here = text[text.rfind("\n", 0, position) + 1 :].split("\n", 1)[0]
    meta = _META.search(here)
    if meta and (text[position : position + 1] == "\\" or here.lstrip().startswith("\\")):
        return ScriptError("FILE_META_COMMAND", line, f"{meta[0]} is a command of psql, not SQL")
    return ScriptError("FILE_SYNTAX", line, error.message)


def kind_of(wrapped: Node) -> tuple[str, Node]:
    """The kind of a wrapped statement (``create_stmt``) and its fields."""
    for name, node in wrapped.items():
        return _HUMP.sub("_", name).lower(), node
    return "", {}


def names(items: Sequence[Node]) -> tuple[str, str]:
    """(schema or "", name) of a qualified name."""
    parts = [word(item) for item in items]
    return (parts[-2] if len(parts) > 1 else ""), (parts[-1] if parts else "")


def word(wrapped: Node) -> str:
    """The text of a wrapped String; "" for anything else."""
    return str(wrapped.get("String", {}).get("sval", ""))


def relation(node: Node, field: str = "relation") -> tuple[str, str]:
    """(schema or "", name) of a RangeVar field."""
    r = node.get(field, {})
    return r.get("schemaname", ""), r.get("relname", "")


def options(node: Node, field: str = "options") -> Iterator[tuple[str, Node]]:
    """(name, wrapped argument) of each DefElem in an option list."""
    for item in node.get(field, ()):
        element = item.get("DefElem", {})
        yield element.get("defname", ""), element.get("arg", {})


def constant(wrapped: Node) -> str:
    """A constant of SET or set_config as a word."""
    value = wrapped.get("A_Const", {})
    if "ival" in value:
        return str(value["ival"].get("ival", 0))
    return string(wrapped).lower()


def string(wrapped: Node) -> str:
    """The text of a string constant; "" for anything else."""
    return str(wrapped.get("A_Const", {}).get("sval", {}).get("sval", ""))


def walk(node: object) -> Iterator[tuple[str, Node]]:
    """Every field of ``node`` and below that holds fields of its own, by name; without recursion, for trees that are deep."""
    left = [node]
    while left:
        here = left.pop()
        if isinstance(here, list):
            left.extend(here)
        elif isinstance(here, dict):
            for name, value in here.items():
                if isinstance(value, dict):
                    yield name, value
                    left.append(value)
                elif isinstance(value, list):
                    left.append(value)
