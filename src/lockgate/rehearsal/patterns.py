"""Text that a regular expression or a LIKE pattern of a CHECK accepts, as SQL over a row's number. Pure.

Only what checks commonly say is understood: literals, classes, groups, alternatives, repetition. For anything else there
is no answer, and whoever asks has the server try what comes out: a wrong answer costs one attempt.
"""

import string
from collections.abc import Iterator

from lockgate.postgres.tables import literal

_LETTERS = string.ascii_lowercase
_WORD = string.ascii_lowercase + string.digits + "_"
_ESCAPES = {"d": string.digits, "w": _WORD, "s": " ", "t": "\t", "n": "\n"}
_NAMED = {
    "alpha": _LETTERS, "digit": string.digits, "alnum": _LETTERS + string.digits, "upper": string.ascii_uppercase,
    "lower": _LETTERS, "space": " ", "punct": "-", "xdigit": string.digits + "abcdef",
}  # fmt: skip
_MANY = 8
"""How often something is repeated that may be repeated without end."""
_MOST = 200
"""How long a text may become."""

Part = tuple[str, int]
"""An alphabet, and how many of its characters stand here."""


class _Beyond(Exception):
    """The pattern says something that is not understood here."""


def of_regex(pattern: str, g: str) -> str | None:
    """SQL for a text that ``pattern`` (POSIX, as in ``~``) matches, another for each ``g`` where there is room; None for one that is not understood."""
    try:
        parts, rest = _alternatives(pattern, 0)
    except (_Beyond, IndexError):
        return None
    if rest != len(pattern) or sum(count for _, count in parts) > _MOST:
        return None
    return _sql(parts, g)


def of_like(pattern: str, g: str) -> str | None:
    """The same for a pattern of LIKE (``~~``)."""
    parts: list[Part] = []
    escaped = False
    for character in pattern:
        if escaped or character not in "\\%_":
            parts.append((character, 1))
            escaped = False
        elif character == "\\":
            escaped = True
        else:
            parts.append((_LETTERS, _MANY if character == "%" else 1))
    return _sql(parts, g) if sum(count for _, count in parts) <= _MOST else None


def _alternatives(text: str, at: int) -> tuple[list[Part], int]:
    """The parts of the first alternative from ``at`` to the end of the group, and where that is."""
    parts, at = _sequence(text, at)
    while at < len(text) and text[at] == "|":
        _, at = _sequence(text, at + 1)
    return parts, at


def _sequence(text: str, at: int) -> tuple[list[Part], int]:
    found: list[Part] = []
    while at < len(text) and text[at] not in "|)":
        if text[at] in "^$":
            at += 1
            continue
        atom, at = _atom(text, at)
        low, high, at = _repetition(text, at)
        single = len(atom) == 1 and len(atom[0][0]) > 1
        times = min(high, max(low, _MANY)) if single and high > 1 else low
        found += [(atom[0][0], atom[0][1] * times)] if len(atom) == 1 else atom * times
    return [(alphabet, count) for alphabet, count in found if count], at


def _atom(text: str, at: int) -> tuple[list[Part], int]:
    character = text[at]
    if character == "(":
        at += 1
        if text.startswith("?:", at):
            at += 2
        elif text[at] == "?":
            raise _Beyond
        parts, at = _alternatives(text, at)
        if text[at] != ")":
            raise _Beyond
        return parts, at + 1
    if character == "[":
        alphabet, at = _class(text, at + 1)
        return [(alphabet, 1)], at
    if character == "\\":
        escaped = text[at + 1]
        if escaped.isalnum() and escaped not in _ESCAPES:
            raise _Beyond
        return [(_ESCAPES.get(escaped, escaped), 1)], at + 2
    if character in "*+?{":
        raise _Beyond
    return [(_LETTERS if character == "." else character, 1)], at + 1


def _class(text: str, at: int) -> tuple[str, int]:
    """The alphabet of a bracket expression that begins at ``at``, and where it ends."""
    negated = text[at] == "^"
    at += negated
    chosen, first = "", True
    while first or text[at] != "]":
        first = False
        if text.startswith("[:", at):
            end = text.index(":]", at) if ":]" in text[at:] else -1
            if end < 0 or text[at + 2 : end] not in _NAMED:
                raise _Beyond
            chosen, at = chosen + _NAMED[text[at + 2 : end]], end + 2
        elif text[at] == "\\":
            chosen, at = chosen + _ESCAPES.get(text[at + 1], text[at + 1]), at + 2
        elif text[at + 1] == "-" and text[at + 2] != "]":
            chosen += "".join(map(chr, range(ord(text[at]), min(ord(text[at + 2]), ord(text[at]) + 100) + 1)))
            at += 3
        else:
            chosen, at = chosen + text[at], at + 1
    if negated:
        chosen = "".join(c for c in _LETTERS + string.digits if c not in chosen)
    if not chosen:
        raise _Beyond
    return "".join(dict.fromkeys(chosen)), at + 1


def _repetition(text: str, at: int) -> tuple[int, int, int]:
    """How often at least and at most what stands before ``at`` comes, and where the text goes on."""
    low, high = 1, 1
    if at < len(text) and text[at] in "*+?":
        low, high = {"*": (0, _MANY), "+": (1, _MANY), "?": (0, 1)}[text[at]]
        at += 1
    elif at < len(text) and text[at] == "{":
        end = text.index("}", at) if "}" in text[at:] else -1
        first, comma, last = text[at + 1 : end].partition(",")
        if end < 0 or not first.isdigit() or (last and not last.isdigit()):
            raise _Beyond
        low = int(first)
        high = int(last) if last else low + _MANY if comma else low
        at = end + 1
    else:
        return low, high, at
    return low, high, at + (at < len(text) and text[at] == "?")


def _sql(parts: list[Part], g: str) -> str:
    """The parts as one text; the one with the most room for it holds ``g``."""
    roomy = [(min(len(alphabet), 10) ** count, -number) for number, (alphabet, count) in enumerate(parts)]
    best = -max(roomy, default=(0, 0))[1]
    return " || ".join(_part(part, g if number == best else "") for number, part in enumerate(parts)) or "''"


def _part(part: Part, g: str) -> str:
    alphabet, count = part
    if not g or len(alphabet) < 10:
        return literal("".join(_endless(alphabet, count)))
    digits = f"lpad(({g}::bigint % {10 ** min(count, 17)})::text, {count}, '0')"
    return (
        digits
        if alphabet[:10] == string.digits
        else f"translate({digits}, '{string.digits}', {literal(alphabet[:10])})"
    )


def _endless(alphabet: str, count: int) -> Iterator[str]:
    """The first character again and again: whatever repeats it, it is of the alphabet."""
    return (alphabet[0] for _ in range(count))
