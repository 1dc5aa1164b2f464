"""Expressions in advice as the user wrote them: pieces of the statement's own text, proven by reading them again.

What cannot be proven stands as dots.
"""

import re
from collections.abc import Iterator

from msgspec import structs

from lockgate.policy.model.spelling import keys_sql
from lockgate.policy.subject import Subject
from lockgate.postgres.tree import SyntaxProblem, statements_of
from lockgate.postgres.tree import words as w

_SPACE = r"(?:\s|--[^\n]*\n|/\*(?:[^*]|\*(?!/))*\*/)"
_NAME = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
_TABLE = re.compile(
    rf"\bON{_SPACE}+(?:ONLY{_SPACE}+)?{_NAME}(?:{_SPACE}*\.{_SPACE}*{_NAME})?{_SPACE}*(?=\(|USING\b)",
    re.IGNORECASE,
)
_WITH = re.compile(r"\bWITH\b", re.IGNORECASE)
_CHECK = re.compile(rf"\bCHECK{_SPACE}*\(", re.IGNORECASE)
# What a parenthesis may hide in, or is.
_PIECE = re.compile(
    r"""[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|--[^\n]*\n|/\*.*?\*/|[()]""",
    re.DOTALL,
)


def _text(subject: Subject) -> str:
    file = subject.file
    return file.text.encode("utf-8", "surrogatepass")[file.start : file.end].decode("utf-8", "replace")


def _read(text: str) -> w.Statement | None:
    """The one statement of ``text``, which may not end in a comment: more will stand behind it."""
    try:
        located = statements_of(f"{text}; SELECT 1")
    except SyntaxProblem:
        return None
    return located[0].statement if len(located) == 2 else None


def index_tail(subject: Subject, word: w.CreateIndex) -> str:
    """What stands behind the table's name: method, keys, included columns, predicate and the rest."""
    plain = f"({keys_sql(word)})"
    wanted = structs.replace(
        word, name="i", table=w.Name("", "t"), concurrently=False, if_not_exists=False, only=False
    )
    unique = "UNIQUE " if word.unique else ""
    text = _text(subject)
    bare = tuple([w.IndexKey(column=key.column) for key in word.keys])
    more = word.include or word.where or word.nulls_not_distinct or word.tablespace or word.method != "btree"
    if word.keys == bare and not more and not _WITH.search(text):
        return plain  # nothing to look for: this is most of them
    for match in _TABLE.finditer(text):
        tail = text[match.end() :].rstrip("; \t\n")
        if _read(f"CREATE {unique}INDEX i ON t {tail}") == wanted:
            return tail
    return plain


def check_text(subject: Subject, expression: w.Expression | None) -> str:
    """``CHECK (…)`` with the expression of the statement, where one alone fits."""
    found = [text for text in _checks(_text(subject)) if _expression(text) == expression is not None]
    return found[0] if len(set(found)) == 1 else "CHECK (…)"


def _checks(text: str) -> Iterator[str]:
    for match in _CHECK.finditer(text):
        depth = 1
        for piece in _PIECE.finditer(text, match.end()):
            depth += {"(": 1, ")": -1}.get(piece[0], 0)
            if not depth:
                yield f"CHECK ({text[match.end() : piece.start()].strip()})"
                break


def _expression(text: str) -> w.Expression | None:
    word = _read(f"ALTER TABLE t ADD CONSTRAINT c {text}")
    action = word.actions[0] if isinstance(word, w.AlterTable) else None
    return action.constraint.expression if isinstance(action, w.AddConstraint) else None
