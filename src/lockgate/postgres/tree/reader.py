"""A file's text to located words: parse once, then one reader a statement kind."""

from msgspec import DecodeError, Raw, ValidationError, json

from lockgate.postgres.tree import others, tables
from lockgate.postgres.tree.library import tree_json
from lockgate.postgres.tree.nodes import ParseTree
from lockgate.postgres.tree.wording import Unknown
from lockgate.postgres.tree.words import Located, NotUnderstood, Statement

_decode = json.Decoder(ParseTree).decode

_READERS = {**tables.READERS, **others.READERS}


def statements_of(text: str) -> list[Located]:
    """Every statement of ``text`` in order. Raises ``SyntaxProblem`` when it is not PostgreSQL."""
    source = text.encode("utf-8", "surrogatepass")
    try:
        tree = _decode(tree_json(source))
    except RecursionError:
        return [
            Located(
                NotUnderstood("file", "an expression is nested too deeply to be judged"), 1, 0, len(source)
            )
        ]
    located: list[Located] = []
    line, counted = 1, 0
    for raw in tree.stmts:
        start = first_token(source, raw.stmt_location)
        end = raw.stmt_location + raw.stmt_len if raw.stmt_len else len(source)
        line += source.count(b"\n", counted, start)
        counted = start
        ((node, body),) = raw.stmt.items()
        located.append(Located(read_node(node, body), line, start, end))
    return located


def read_node(node: str, body: Raw) -> Statement:
    """The word of one statement; whatever cannot be read is ``NotUnderstood``."""
    reader = _READERS.get(node)
    if reader is None:
        return NotUnderstood(node, f"{node} is not in the vocabulary")
    try:
        return reader(body)
    except Unknown as unknown:
        return NotUnderstood(node, str(unknown))
    except RecursionError:
        return NotUnderstood(node, "an expression is nested too deeply to be judged")
    except (DecodeError, ValidationError, KeyError, IndexError, TypeError, AttributeError, ValueError) as odd:
        # A tree of a shape that the reader does not expect must block, never crash and never pass.
        return NotUnderstood(node, f"unexpected shape: {type(odd).__name__}: {odd}")


def first_token(source: bytes, at: int) -> int:
    """The offset of the first byte from ``at`` that is neither space nor comment. Comments nest."""
    size = len(source)
    while at < size:
        byte = source[at]
        if byte in b" \t\r\n\f\v":
            at += 1
        elif byte == 0x2D and source.startswith(b"--", at):
            end = source.find(b"\n", at)
            at = size if end < 0 else end + 1
        elif byte == 0x2F and source.startswith(b"/*", at):
            at = _comment_end(source, at)
        else:
            return at
    return size


def _comment_end(source: bytes, at: int) -> int:
    depth = 0
    while True:
        opening, closing = source.find(b"/*", at), source.find(b"*/", at)
        if closing < 0:
            return len(source)
        if 0 <= opening < closing:
            depth += 1
            at = opening + 2
            continue
        depth -= 1
        at = closing + 2
        if depth == 0:
            return at
