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
