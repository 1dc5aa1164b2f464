"""Secrets never leave the process: every text that lockgate prints or writes passes here.

Two nets: the secrets that this process knows (passwords of its own URLs) are replaced wherever they stand,
and what looks like a secret (a URL's password, ``password=...``, SQL's ``PASSWORD '...'``, bearer tokens) is replaced
by shape. A shape that is cut off in the middle counts as a whole one: text is shortened for reports.
"""

import json
import re
from functools import lru_cache
from html import escape
from urllib.parse import quote, quote_plus, unquote

MASK = "********"

_NESTED = r"(?P<nest>'{2,})[^']+(?P=nest)"
"""A literal inside a literal, as in ``EXECUTE 'ALTER ROLE a PASSWORD ''b'''``."""
_URL = re.compile(
    r"(?P<head>\b[a-zA-Z][a-zA-Z0-9+.-]*:/{1,3}[^\s:/@'\"]*:)(?P<secret>[^\s'\"]{0,4096}(?=@)|[^\s@]{0,4096})(?P<tail>@)"
)
_PAIR = re.compile(
    r"(?P<head>(?P<query>[?&])?\b(?!(?<=/)\w+:\s(?:No such file|Permission denied|Is a directory|Not a directory|there is no|is no such command))\w*(?:password|passwd|secret|token|api[_-]?key|(?<![A-Za-z0-9])pw)\b(?:\\*[\"'])?\s*(?:=|:|%3D)\s*)"
    rf"(?P<secret>{_NESTED}|\\+(?P<quote>[\"']).*?\\+(?P=quote)|(?:'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.)*\")(?=[\s,;:.)}}\]&\"'\\]|\Z)|['\"][^\n]*|(?(query)[^\s&]+|\S+))",
    re.IGNORECASE,
)
_SQL = re.compile(
    r"(?P<head>\bpassword(?:\s|/\*[^*]*\*/)+)"
    rf"(?P<secret>{_NESTED}|e'(?:[^'\\]|\\.|'')*(?:'|\Z)|(?:u&)?'(?:[^']|'')*(?:'|\Z)|\$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z))",
    re.IGNORECASE | re.DOTALL,
)
_BEARER = re.compile(r"(?P<head>\b(?:bearer|basic)\s+)(?P<secret>[A-Za-z0-9._~+/=-]{8,})", re.IGNORECASE)
_NAMES = ("passw", "secret", "token", "api", "pw")
"""One of these is in every name that ``_PAIR`` knows: most texts have none, and need no look by a pattern."""
_EVERY = "password bearer"
_WEAK = re.compile(r"\w{1,8}")
"""A password such as ``app`` is a word of our own texts too (``applied``), so it is replaced as a whole word only."""

_SHORT = 200
"""Characters of a text that is remembered with what became of it."""

_known: set[str] = set()
_weak: set[str] = set()


def remember(secret: str | None) -> None:
    """Never show ``secret`` again: plain, percent-encoded, or quoted for SQL, a connection string, JSON or HTML.

    Short ones (< 3) are left to shape.
    """
    for plain in {secret or "", unquote(secret or "")}:
        if len(plain.strip()) < 3:
            continue
        forms = {
            plain,
            quote(plain, safe=""),
            quote(plain),
            quote_plus(plain),
            plain.replace("'", "''"),
            plain.replace("\\", "\\\\").replace("'", "\\'"),
            repr(plain)[1:-1],
            json.dumps(plain)[1:-1],
            json.dumps(plain, ensure_ascii=False)[1:-1],
            escape(plain),
        }
        forms |= {re.sub(r"%[0-9A-F]{2}", lambda m: m[0].lower(), form) for form in forms if "%" in form}
        for form in forms:
            (_weak if _WEAK.fullmatch(form) else _known).add(form)


def redact(text: str) -> str:
    """``text`` with every known secret and everything that has a secret's shape replaced by asterisks."""
    return _again(text, len(_known) + len(_weak)) if len(text) <= _SHORT else _redacted(text)


def _redacted(text: str, secrets: int = 0) -> str:
    for secret in _weak:
        if secret in text:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", MASK, text)
    return _by_shape(_without_known(text))


_again = lru_cache(maxsize=4096)(_redacted)
"""A document says the same few words thousands of times. With every secret that becomes known each is looked at anew."""


def _without_known(text: str) -> str:
    for secret in sorted(_known, key=len, reverse=True):
        if secret in text:
            text = text.replace(secret, MASK)
    return text


def _by_shape(text: str) -> str:
    if ":/" in text and "@" in text:
        text = _URL.sub(lambda m: f"{m['head']}{MASK}{m['tail']}", text)
    # Beyond ASCII letters have other cases than ``lower`` knows (the long s, the dotted i), and a pattern is asked anyway.
    said = text.lower() if text.isascii() else _EVERY
    if "password" in said:
        text = _SQL.sub(lambda m: f"{m['head']}'{MASK}'", text)
    if any(word in said for word in _NAMES):
        text = _PAIR.sub(lambda m: f"{m['head']}{MASK}", text)
    if "bearer" in said or "basic" in said:
        text = _BEARER.sub(lambda m: f"{m['head']}{MASK}", text)
    return text


@lru_cache(maxsize=4096)
def _named(key: str, secrets: int) -> str:
    """A key of a document: one of its own words stays, even where it is a weak secret."""
    return _by_shape(_without_known(key))


def redact_value(value: object) -> object:
    """``value`` (of what JSON can hold) with every string in it redacted; keys too, but for words that are weak secrets."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {_named(str(k), len(_known)): redact_value(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact_value(v) for v in value]
    return value
