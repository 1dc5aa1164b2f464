"""The ``-- lockgate:`` lines of a file: what they may say, and where."""

import datetime
import re

import msgspec

from lockgate.postgres.durations import Limit

DOWN_LINE = re.compile(r"^--[ \t]*lockgate:[ \t]*down[ \t]*\r?$\n?", re.MULTILINE)
LINE = re.compile(r"^[ \t]*--[ \t]*lockgate:(?P<rest>.*)$", re.MULTILINE)
_MEANT = re.compile(
    r"^[ \t]*(?:--|/\*)[-* \t]*lockgate[ \t]*(?::|[a-z_]+[ \t]*=)", re.MULTILINE | re.IGNORECASE
)
"""A comment that its writer takes for a directive, although it is none: another case, a blank before the colon."""
_PAIR = re.compile(r'(?P<key>[a-z_]+)(?:=(?P<value>"(?:[^"\\]|\\.)*"|[^\s"]\S*))?(?:\s+|$)')
_LINE_END = re.compile(r"[\r\n]")
_HAZARD = re.compile(r"^[a-z0-9]+(-[a-z0-9]+)*$")
_MOVE = re.compile(r"^move:[a-z0-9][a-z0-9_-]*$")
_COUNT = re.compile(r"^[0-9]{1,18}(\.[0-9]+)?$")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
HEADER_KEYS = frozenset({"phase", "transaction", "lock_timeout", "statement_timeout", "after"})


class DirectiveError(ValueError):
    """A directive is malformed; ``line`` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class Allow(msgspec.Struct, frozen=True):
    """A suppression: one hazard, on the statement that follows directly, until a date, for a reason."""

    hazard: str
    until: datetime.date
    reason: str
    line: int


class Directives(msgspec.Struct, frozen=True):
    """What the directives of one file say. ``line`` numbers of problems are those of the directive."""

    phase: str = "expand"
    phase_given: bool = False
    transaction: bool = True
    lock_timeout: str = ""
    statement_timeout: str = ""
    after: tuple[str, ...] = ()
    estimate_rows: float | None = None
    estimate_seconds: float | None = None
    allows: tuple[Allow, ...] = ()


def parse(text: str) -> Directives:
    """Read the directives of ``text`` (without its down section).

    Header directives stand in the leading comment, ``allow=`` directly above the statement it covers. Raises
    ``DirectiveError`` for anything unknown, doubled, malformed or out of place.
    """
    if "lockgate" not in text.lower():
        return Directives()
    for match in _MEANT.finditer(text):
        if not LINE.match(text, match.start()):
            line = text.count("\n", 0, match.start()) + 1
            raise DirectiveError(
                line, "this looks like a directive and is none; write `-- lockgate: key=value`"
            )
    header_end = _leading_comment_end(text)
    values: dict[str, object] = {}
    allows: list[Allow] = []
    after: list[str] = []
    for match in LINE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        pairs = pairs_of(match["rest"].strip(), line)
        if "allow" in pairs:
            allows.append(_allow(pairs, line))
            continue
        if match.start() > header_end:
            raise DirectiveError(
                line, f"`{next(iter(pairs))}` belongs into the comment at the top of the file"
            )
        if "estimate" in pairs:
            _estimate(pairs, line, values)
            continue
        for key, value in pairs.items():
            if key not in HEADER_KEYS:
                raise DirectiveError(line, f"unknown directive `{key}`")
            if key in values:
                raise DirectiveError(line, f"`{key}` is given twice")
            if value is None:
                raise DirectiveError(line, f"`{key}` needs a value: {key}=...")
            if key == "after":
                after.append(_checked(_MOVE, key, value, line, "move:<name>"))
            else:
                values[key] = _header(key, value, line)
    if "phase" in values:
        values["phase_given"] = True
    return msgspec.structs.replace(Directives(), **values, allows=tuple(allows), after=tuple(after))


def pairs_of(rest: str, line: int) -> dict[str, str | None]:
    """The keys and values of one directive (what stands behind ``lockgate:``). Raises ``DirectiveError``."""
    if not rest:
        raise DirectiveError(line, "an empty directive")
    pairs: dict[str, str | None] = {}
    position = 0
    while position < len(rest):
        match = _PAIR.match(rest, position)
        if not match:
            raise DirectiveError(line, f"cannot read `{rest[position:][:40]}`; write key=value")
        if match["key"] in pairs:
            raise DirectiveError(line, f"`{match['key']}` is given twice")
        value = match["value"]
        pairs[match["key"]] = (
            re.sub(r"\\(.)", r"\1", value[1:-1]) if value and value.startswith('"') else value
        )
        position = match.end()
    return pairs


def _header(key: str, value: str, line: int) -> object:
    if key == "phase":
        if value not in ("expand", "contract"):
            raise DirectiveError(line, f"phase={value}: a phase is expand or contract")
        return value
    if key == "transaction":
        if value not in ("on", "off"):
            raise DirectiveError(line, f"transaction={value}: it is on or off")
        return value == "on"
    try:
        Limit.parse(value)
    except ValueError as error:
        raise DirectiveError(line, f"{key}={value[:40]}: {error}") from None
    return value


def _checked(pattern: re.Pattern[str], key: str, value: str, line: int, what: str) -> str:
    if not pattern.match(value):
        raise DirectiveError(line, f"{key}={value}: it takes {what}")
    return value


def _estimate(pairs: dict[str, str | None], line: int, values: dict[str, object]) -> None:
    if pairs.pop("estimate") is not None or not pairs:
        raise DirectiveError(line, "write: estimate rows=N seconds=N")
    for key, value in pairs.items():
        if key not in ("rows", "seconds") or value is None or not _COUNT.match(value):
            raise DirectiveError(line, f"estimate {key}={value}: write rows=N or seconds=N")
        if f"estimate_{key}" in values:
            raise DirectiveError(line, f"the estimate of {key} is given twice")
        values[f"estimate_{key}"] = float(value)


def _allow(pairs: dict[str, str | None], line: int) -> Allow:
    unknown = set(pairs) - {"allow", "until", "reason"}
    if unknown:
        raise DirectiveError(line, f"unknown directive `{sorted(unknown)[0]}` beside allow")
    hazard, until, why = pairs.get("allow"), pairs.get("until"), pairs.get("reason")
    if not hazard or not until or not why or not why.strip():
        raise DirectiveError(line, 'write: allow=<hazard> until=YYYY-MM-DD reason="why"')
    if not _HAZARD.match(hazard):
        raise DirectiveError(line, f"allow={hazard}: this is not the name of a hazard")
    try:
        date = datetime.date.fromisoformat(until if _DATE.fullmatch(until) else "")
    except ValueError:
        raise DirectiveError(line, f"until={until}: write the date as YYYY-MM-DD") from None
    return Allow(hazard, date, why, line)


def _leading_comment_end(text: str) -> int:
    """The offset of the first thing that is neither blank nor comment."""
    position, size = 0, len(text)
    while position < size:
        if text[position].isspace():
            position += 1
        elif text.startswith("--", position):
            end = _LINE_END.search(text, position)  # as the server has it, a lone CR ends a comment too
            position = end.end() if end else size
        elif text.startswith("/*", position):
            depth, position = 1, position + 2
            while position < size and depth:
                if text.startswith("/*", position):
                    depth, position = depth + 1, position + 2
                elif text.startswith("*/", position):
                    depth, position = depth - 1, position + 2
                else:
                    position += 1
        else:
            break
    return position
