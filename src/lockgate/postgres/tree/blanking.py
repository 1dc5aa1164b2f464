"""Bodies of functions without their data: every constant and comment goes, but for names that claims need.

A function may hold a password, and what is kept of it is written to files. A constant that was blanked is unknown to
whoever reads it later (``conditions.datum``), and is nothing that can be run (``plpgsql``).
"""

import re
from typing import Any

from msgspec import json, structs

from lockgate.postgres.tree.constants import BLANK
from lockgate.postgres.tree.words import Routine

_TOKEN = re.compile(
    r"""(?P<comment>--[^\n]*|/\*)
    |(?P<escaped>[Ee]'(?:[^'\\]|\\.|'')*')
    |(?P<quoted>(?P<prefix>[BbXxNn]|[Uu]&)?'(?P<text>(?:[^']|'')*)')
    |(?P<dollar>\$(?P<tag>[A-Za-z_\x80-\U0010ffff][\w]*)?\$)
    |(?P<name>"(?:[^"]|"")*"|[A-Za-z_\x80-\U0010ffff][\w$]*)
    |(?P<number>\d\w*(?:\.(?!\.)\w*)?|\.\d\w*)
    |(?P<parameter>\$\d+)
    |(?P<space>\s+)|(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_NAMED = re.compile(r"[a-z_][a-z0-9_$]*(\.[a-z_][a-z0-9_$]*)?")
_EVENTS = frozenset({"INSERT", "UPDATE", "DELETE", "TRUNCATE"})
_STATE = re.compile(r"[0-9A-Z]{5}")
_ASKS = frozenset({"nextval", "setval", "currval", "pg_get_serial_sequence"})
_SMALL = 4
"""Digits of a number that is no data: a bound of a loop, a LIMIT."""


def blanked(routine: Routine) -> Routine:
    """The routine without what is data in its body."""
    if routine.language not in ("sql", "plpgsql"):
        return structs.replace(routine, body="", tree="")
    if routine.tree:
        return structs.replace(routine, body="", tree=json.encode(_tree(json.decode(routine.tree))).decode())
    return structs.replace(routine, body=blanked_text(routine.body))


def blanked_text(body: str) -> str:
    """The text of a body with its constants blanked and its comments left out."""
    found: list[str] = []
    before = ["", "", "", ""]
    at = 0
    while at < len(body):
        match = _TOKEN.match(body, at)
        assert match is not None
        kind, text, at = match.lastgroup, match[0], match.end()
        if match["comment"]:
            at = _after_comment(body, match)
            text, kind = " ", "space"
        elif match["dollar"]:
            end = body.find(text, at)
            at = len(body) if end < 0 else end + len(text)
            text = _constant(body[match.end() : end if end >= 0 else None])
        elif match["escaped"]:
            text = _constant(text[2:-1])
        elif match["quoted"]:
            kept = not match["prefix"] and _kept(match["text"], before, body[at : at + 40])
            text = text if kept else _constant(match["text"])
        elif match["number"]:
            text = text if sum(map(str.isdigit, text)) <= _SMALL else _constant("")
        found.append(text)
        if kind != "space":
            before = [*before[1:], text.lower()]
    return "".join(found)


def _after_comment(body: str, match: re.Match[str]) -> int:
    """Where a comment ends; those in /* nest."""
    at, depth = match.end(), 1
    if not match[0].startswith("/*"):
        return at
    while depth and at < len(body):
        if body.startswith("/*", at):
            at, depth = at + 2, depth + 1
        elif body.startswith("*/", at):
            at, depth = at + 2, depth - 1
        else:
            at += 1
    return at


def _kept(text: str, before: list[str], after: str) -> bool:
    """Whether a constant is a name: of a relation, an event of a trigger, a state that a handler names."""
    if before[-1] == "sqlstate" and _STATE.fullmatch(text):
        return True
    if text in _EVENTS:
        return True
    if not _NAMED.fullmatch(text):
        return False
    asked = before[-1] == "(" and before[-2] in _ASKS
    serial = before[0] == "pg_get_serial_sequence" and before[-1] == ","
    path = before[-2] == "search_path" and before[-1] in ("=", "to")
    cast = re.match(r"\s*::\s*regclass\b", after, re.IGNORECASE) is not None
    return asked or serial or path or cast or before[-1] == "regclass"


def _constant(text: str) -> str:
    """What stands for a constant; RAISE counts its placeholders."""
    return f"'{BLANK}{'% ' * text.replace('%%', '').count('%')}'"


def _tree(node: Any, *, named: bool = False) -> Any:
    """The same of the parser's tree."""
    if isinstance(node, list):
        return [_tree(item, named=named) for item in node]
    if not isinstance(node, dict):
        return node
    if "A_Const" in node:
        return node if named else {"A_Const": _constant_of(node["A_Const"])}
    for kind in ("FuncCall", "TypeCast"):
        names = [item.get("String", {}).get("sval") for item in _names(node.get(kind, {}))]
        if names[-1:] == ["regclass"] or _ASKS & set(names):
            return {kind: {key: _tree(value, named=_plain(value)) for key, value in node[kind].items()}}
    return {key: _tree(value) for key, value in node.items()}


def _names(call: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = call.get("funcname") or call.get("typeName", {}).get("names", [])
    return found


def _plain(value: Any) -> bool:
    """Whether an argument, or the first of several, is a name and nothing else."""
    first = value[0] if isinstance(value, list) and value else value
    constant = first.get("A_Const", {}) if isinstance(first, dict) else {}
    return _NAMED.fullmatch(constant.get("sval", {}).get("sval", "")) is not None


def _constant_of(node: dict[str, Any]) -> dict[str, Any]:
    if "isnull" in node or "boolval" in node:
        return node
    if len(str(node.get("ival", {}).get("ival", 0))) <= _SMALL and "ival" in node:
        return node
    return {"sval": {"sval": BLANK}}
