"""libpg_query by ctypes: SQL text to the parser's JSON.

The parser's Python package is not imported: that costs 60 ms of protobuf descriptors, and the JSON form
decodes several times faster into typed structs than protobuf messages can be walked (36 + 8 ms against
128 + 18 ms for 5,200 statements, before any node is looked at).
"""

import ctypes
import importlib.util
import sys
import threading
from pathlib import Path

# The parser's JSON writer recurses on the C stack, one level for each operator of a chain like 1+1+1+…: a
# default stack holds about 40,000 of them. Larger texts are parsed on a thread whose stack fits their length.
_SMALL_TEXT = 40_000
_STACK_PER_BYTE = 512
_LARGEST_STACK = 1 << 30

_FILE_NAMES = {"linux": "libpg_query.so", "darwin": "libpg_query.dylib", "win32": "pg_query.dll"}


class _Error(ctypes.Structure):
    _fields_ = [
        ("message", ctypes.c_char_p),
        ("funcname", ctypes.c_char_p),
        ("filename", ctypes.c_char_p),
        ("lineno", ctypes.c_int),
        ("cursorpos", ctypes.c_int),
        ("context", ctypes.c_char_p),
    ]


class _ParseResult(ctypes.Structure):
    _fields_ = [
        ("parse_tree", ctypes.c_char_p),
        ("stderr_buffer", ctypes.c_char_p),
        ("error", ctypes.POINTER(_Error)),
    ]


class _BodyResult(ctypes.Structure):
    _fields_ = [("tree", ctypes.c_char_p), ("error", ctypes.POINTER(_Error))]


class SyntaxProblem(Exception):
    """The text is not PostgreSQL. ``offset`` is the byte where the parser stopped, or -1."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


def _load() -> ctypes.CDLL:
    spec = importlib.util.find_spec("postgast")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("the package postgast, which carries libpg_query, is not installed")
    folder = Path(next(iter(spec.submodule_search_locations)))
    lib = ctypes.CDLL(str(folder / _FILE_NAMES.get(sys.platform, "libpg_query.so")))
    lib.pg_query_parse.argtypes = [ctypes.c_char_p]
    lib.pg_query_parse.restype = _ParseResult
    lib.pg_query_free_parse_result.argtypes = [_ParseResult]
    lib.pg_query_free_parse_result.restype = None
    lib.pg_query_parse_plpgsql.argtypes = [ctypes.c_char_p]
    lib.pg_query_parse_plpgsql.restype = _BodyResult
    lib.pg_query_free_plpgsql_parse_result.argtypes = [_BodyResult]
    lib.pg_query_free_plpgsql_parse_result.restype = None
    return lib


_lib = _load()


def tree_json(source: bytes) -> bytes:
    """The parser's tree of ``source`` as JSON. Raises ``SyntaxProblem``."""
    if b"\0" in source:
        raise SyntaxProblem(
            "a NUL byte: the server would stop reading here and report success", source.index(b"\0")
        )
    if len(source) > _SMALL_TEXT:
        return _on_a_large_stack(source)
    return _parse(source)


def _on_a_large_stack(source: bytes) -> bytes:
    outcome: list[bytes | SyntaxProblem] = []

    def run() -> None:
        try:
            outcome.append(_parse(source))
        except SyntaxProblem as problem:
            outcome.append(problem)

    before = threading.stack_size(min(_LARGEST_STACK, 64 * 1024 * 1024 + len(source) * _STACK_PER_BYTE))
    try:
        thread = threading.Thread(target=run)
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    if isinstance(outcome[0], SyntaxProblem):
        raise outcome[0]
    return outcome[0]


def _parse(source: bytes) -> bytes:
    result = _lib.pg_query_parse(source)
    try:
        if result.error:
            error = result.error.contents
            raise SyntaxProblem((error.message or b"").decode("utf-8", "replace"), error.cursorpos - 1)
        tree: bytes = result.parse_tree
        return tree
    finally:
        _lib.pg_query_free_parse_result(result)


def plpgsql_tree(source: bytes) -> bytes:
    """What the parser says of the plpgsql function that ``source`` makes. Raises ``SyntaxProblem``."""
    if b"\0" in source or len(source) > _SMALL_TEXT:
        raise SyntaxProblem("too long", 0)
    result = _lib.pg_query_parse_plpgsql(source)
    try:
        if result.error:
            raise SyntaxProblem((result.error.contents.message or b"").decode("utf-8", "replace"), -1)
        tree: bytes = result.tree
        return tree
    finally:
        _lib.pg_query_free_plpgsql_parse_result(result)
