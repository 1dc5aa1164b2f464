"""Queries as pg_stat_statements shows them: a number stands for each constant, also where the grammar takes nothing but a constant.

``interval '1 day'`` becomes ``interval $1`` and ``extract(year FROM at)`` becomes ``extract($1 FROM at)``: neither is SQL. The same is asked
with a cast and with ``date_part``, which take a parameter.
"""

import re

_TYPES = (
    r"interval|date|timestamptz|timestamp(?:\s+with(?:out)?\s+time\s+zone)?|timetz|time(?:\s+with(?:out)?\s+time\s+zone)?"
    "|inet|cidr|macaddr|jsonb?|uuid|numeric|float8|int8|bytea|regclass|point|int4range|int8range|numrange|daterange|tsrange|tstzrange"
)
_FIELD = r"year|month|day|hour|minute|second"
_PIECE = re.compile(
    r"(?P<kept>'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/)"
    rf"|(?<![\w.$\"])(?P<type>{_TYPES})\s+(?P<value>\$\d+)(?!\w)(?P<field>\s+(?:{_FIELD})(?:\s+to\s+(?:{_FIELD}))?(?!\w))?"
    r"|(?<![\w.$\"])extract\s*\(\s*(?P<unit>\$\d+)\s+from\s",
    re.I | re.S,
)


def preparable(text: str) -> str:
    """The same query with parameters where only constants may stand. Text without such is given back as it is. Pure."""
    return _PIECE.sub(_written, text)


def _written(match: re.Match[str]) -> str:
    if match["type"]:
        field = match["field"] if match["field"] and match["type"].lower() == "interval" else ""
        return f"CAST({match['value']} AS {match['type']}{field})" + ("" if field else match["field"] or "")
    if match["unit"]:
        return f"date_part({match['unit']}, "
    return match["kept"]


_AMBIGUOUS = re.compile(r"function (?:[\w\"]+\.)?\"?([^\s(\"]+)\"?\((.*)\) is not unique")
_OPERATOR = re.compile(r"operator is not unique: unknown (\S+) unknown")
_UNTYPED = re.compile(r"could not determine data type of parameter \$(\d+)")


def typed(text: str, message: str) -> str | None:
    """``text`` with a type for the parameters of which the server said, in ``message``, that it cannot tell it; None where it said else.

    A constant has a type that the number in its place does not show: where functions or operators of several types would
    do, it mostly was an integer, and where anything does, a text. Pure.
    """
    found = _AMBIGUOUS.search(message)
    if found is not None:
        call = re.compile(rf"(?<![\w$\"]){re.escape(found[1])}\s*\(((?:[^()']|\([^()]*\))*)\)", re.I)
        told = call.sub(lambda match: _BARE.sub(r"\1CAST(\2 AS integer)", match[0]), text)
    elif (found := _OPERATOR.search(message)) is not None:
        sides = re.compile(rf"(\$\d+)(\s*{re.escape(found[1])}\s*)(\$\d+)")
        told = sides.sub(r"CAST(\1 AS integer)\2\3", text)
    elif (found := _UNTYPED.search(message)) is not None:
        told = re.sub(rf"\${found[1]}(?!\d)", f"CAST(${found[1]} AS text)", text)
    else:
        return None
    return told if told != text else None


_BARE = re.compile(r"([(,]\s*)(\$\d+)(?=\s*[,)])")
"""A parameter that is an argument by itself."""
