"""Rewrites that need no thought: the text of a file and its findings in, the better text out. Nothing is read or written here.

A rewrite is made in the text, beside the user's own words and comments, and then proven: the new statement, read by
PostgreSQL's grammar, is the old one with that one property changed. What cannot be proven is not done.
"""

import re
from collections.abc import Iterable

from msgspec import Struct, structs

from lockgate.policy.finding import Finding
from lockgate.policy.model.schema import key_of
from lockgate.policy.model.spelling import qualified, quote
from lockgate.postgres.tree import SyntaxProblem, statements_of
from lockgate.postgres.tree import words as w

_SPACE = r"(?:\s|--[^\n]*\n|/\*(?:[^*]|\*(?!/))*\*/)+"
_CREATE = re.compile(rf"CREATE{_SPACE}(?:UNIQUE{_SPACE})?INDEX\b", re.IGNORECASE)
_DROP = re.compile(rf"DROP{_SPACE}INDEX\b", re.IGNORECASE)
_REINDEX = re.compile(rf"REINDEX{_SPACE}(?:INDEX|TABLE)\b", re.IGNORECASE)
_INDEX_IDS = frozenset({"idx-create-blocking", "idx-drop-blocking", "idx-reindex-blocking"})
_VALIDATING_IDS = frozenset({"con-fk-validating", "con-check-validating"})
FIXABLE = frozenset({*_INDEX_IDS, *_VALIDATING_IDS, "suppression-useless"})
"""Hazards of which some cases are rewritten."""


class Fix(Struct, frozen=True):
    """One rewrite: where it was, what it answers, and what was done."""

    file: str
    line: int
    id: str
    done: str


class Fixed(Struct):
    """The new text of a file, what was done to it, and files that have to follow: (name, text)."""

    text: str
    fixes: list[Fix]
    more: list[tuple[str, str]]


def fixed(file: str, text: str, up: str, findings: Iterable[Finding], *, transactional: bool) -> Fixed:
    """Rewrite ``text``, whose up section is ``up``, as far as the ``findings`` of this file can be answered."""
    mine = [found for found in findings if found.file == file and found.id in FIXABLE]
    result = Fixed(text, [], [])
    try:
        located = statements_of(up) if mine else []
    except SyntaxProblem:
        return result
    source = text.encode()
    cuts: list[tuple[int, bytes]] = []
    if any(found.id in _INDEX_IDS for found in mine):
        cuts += _concurrent(file, source, located, mine, result, transactional=transactional)
    for item in located:
        for found in mine:
            if found.id in _VALIDATING_IDS and found.line == item.line:
                cuts += _not_valid(found, source, item, result)
    for at, words in sorted(cuts, reverse=True):
        source = source[:at] + words + source[at:]
    result.text = _without_useless(source.decode(), mine, result, added=_lines_above(cuts))
    return result


def _lines_above(cuts: list[tuple[int, bytes]]) -> int:
    return sum(words.count(b"\n") for at, words in cuts if at == 0)


def _concurrent(
    file: str,
    source: bytes,
    located: list[w.Located],
    mine: list[Finding],
    result: Fixed,
    *,
    transactional: bool,
) -> list[tuple[int, bytes]]:
    """CONCURRENTLY in every statement, and the file outside a transaction. All of it or nothing."""
    cuts: list[tuple[int, bytes]] = []
    fixes: list[Fix] = []
    for item in located:
        word = item.statement
        if getattr(word, "concurrently", False):
            continue
        pattern = _pattern(word)
        match = pattern.match(source[item.start : item.end].decode()) if pattern is not None else None
        if match is None:
            return []
        answered = [found for found in mine if found.line == item.line and found.id in _INDEX_IDS]
        # The advice of the finding knows what the text does not: a partitioned index, or an exclusion constraint's.
        words = " ".join(re.sub(_SPACE, " ", match[0]).upper().split()) + " CONCURRENTLY"
        if not answered or any(words not in found.fix for found in answered):
            return []
        at = item.start + len(match[0].encode())
        new = source[item.start : at] + b" CONCURRENTLY" + source[at : item.end]
        if not _is(new, structs.replace(word, concurrently=True)):
            return []
        cuts.append((at, b" CONCURRENTLY"))
        fixes += [
            Fix(file, found.line, found.id, "CONCURRENTLY, outside a transaction") for found in answered
        ]
    if not fixes:
        return []
    if transactional:
        cuts.append((0, b"-- lockgate: transaction=off\n"))
    result.fixes += fixes
    return cuts


def _pattern(word: w.Statement) -> re.Pattern[str] | None:
    if isinstance(word, w.CreateIndex) and word.name and not word.only:
        return _CREATE
    if isinstance(word, w.Drop) and word.kind == "index" and len(word.names) == 1 and not word.cascade:
        return _DROP
    if isinstance(word, w.Reindex) and word.kind in ("index", "table"):
        return _REINDEX
    return None


def _not_valid(found: Finding, source: bytes, item: w.Located, result: Fixed) -> list[tuple[int, bytes]]:
    """NOT VALID, and a file that validates. The constraint needs a name, or nobody could name it there."""
    word = item.statement
    if not isinstance(word, w.AlterTable) or len(word.actions) != 1 or word.only:
        return []
    if not found.fix.startswith("ALTER TABLE "):
        return []  # the advice is another: before 18 a partitioned table takes no NOT VALID foreign key
    action = word.actions[0]
    if not isinstance(action, w.AddConstraint) or not action.constraint.name:
        return []
    wanted = structs.replace(
        word,
        actions=(structs.replace(action, constraint=structs.replace(action.constraint, not_valid=True)),),
    )
    text = source[item.start : item.end]
    for end, words in ((len(text.rstrip()), b" NOT VALID"), (len(text), b"\nNOT VALID")):
        if _is(text[:end] + words + text[end:], wanted):
            break  # behind a comment that runs to the end of the line, the words stand on a line of their own
    else:
        return []
    name = action.constraint.name
    table = key_of(word.name.schema, word.name.name)
    result.fixes.append(
        Fix(found.file, found.line, found.id, f"{name} NOT VALID, and a file that validates it")
    )
    statement = f"ALTER TABLE {qualified(word.name)} VALIDATE CONSTRAINT {quote(name)};\n"
    result.more.append((f"validate_{table}_{name}", f"-- lockgate: phase=expand\n{statement}"))
    return [(item.start + end, words)]


def _without_useless(text: str, mine: list[Finding], result: Fixed, *, added: int) -> str:
    lines = text.split("\n")
    for found in sorted(mine, key=lambda one: one.line, reverse=True):
        at = found.line - 1 + added
        if found.id != "suppression-useless" or at >= len(lines):
            continue
        if re.match(r"[ \t]*--[ \t]*lockgate:[ \t]*allow=", lines[at]):
            del lines[at]
            result.fixes.append(Fix(found.file, found.line, found.id, "the allowance is taken out"))
    return "\n".join(lines)


def _is(text: bytes, wanted: w.Statement) -> bool:
    try:
        located = statements_of(text.decode())
    except SyntaxProblem:
        return False
    return [item.statement for item in located] == [wanted]
