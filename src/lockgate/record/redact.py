"""Secrets never leave the process: every text that lockgate prints or writes passes here.

Two nets: the secrets that this process knows (passwords of its own URLs) are replaced wherever they stand,
and what looks like a secret (a URL's password, ``password=...``, bearer tokens) is replaced by shape.
"""

import re
from urllib.parse import quote, unquote

MASK = "********"

_URL = re.compile(r"(?P<head>\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s:/@'\"]*:)(?P<secret>[^\s'\"]*)(?P<tail>@)")
_PAIR = re.compile(
    r"(?P<head>\b(?:password|passwd|pgpassword|secret|token|api[_-]?key|sslpassword)\b[\"']?\s*(?:=|:|%3D)\s*)"
    r"(?P<secret>'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.)*\"|[^\s&,;)}\]]+)",
    re.IGNORECASE,
)
_SQL = re.compile(r"(?P<head>\bpassword\s+)(?P<secret>(?:[eE]|[uU]&)?'(?:[^'\\]|\\.|'')*')", re.IGNORECASE)
_BEARER = re.compile(r"(?P<head>\b(?:bearer|basic)\s+)(?P<secret>[A-Za-z0-9._~+/=-]{8,})", re.IGNORECASE)

_known: set[str] = set()


def remember(secret: str | None) -> None:
    """Never show ``secret`` again, in plain, percent-encoded or SQL-quoted form. Short ones (< 3) are left to shape."""
    if secret and len(secret) >= 3:
        plain = unquote(secret)
        for form in (
            secret,
            plain,
            quote(plain, safe=""),
            quote(plain),
            plain.replace("'", "''"),
            repr(plain)[1:-1],
        ):
            _known.add(form)


def redact(text: str) -> str:
    """``text`` with every known secret and everything that has a secret's shape replaced by asterisks."""
    for secret in sorted(_known, key=len, reverse=True):
        if secret in text:
            text = text.replace(secret, MASK)
    if "://" in text:
        text = _URL.sub(lambda m: f"{m['head']}{MASK}{m['tail']}", text)
    text = _SQL.sub(lambda m: f"{m['head']}'{MASK}'", text)
    text = _PAIR.sub(lambda m: f"{m['head']}{MASK}", text)
    return _BEARER.sub(lambda m: f"{m['head']}{MASK}", text)


def redact_value(value: object) -> object:
    """``value`` (of what JSON can hold) with every string in it redacted; keys too."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {redact(str(k)): redact_value(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact_value(v) for v in value]
    return value
