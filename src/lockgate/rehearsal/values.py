"""Believable values as SQL expressions over a row's number: seeded, typed, and in the shape that a column's name promises.

Pure text. An expression for number ``g`` gives the same value in every run with the same seed.
"""

import re
from collections.abc import Iterable
from zlib import crc32

from lockgate.postgres.tables import ColumnOf, literal
from lockgate.rehearsal.patterns import of_like, of_regex

NUMBER = "$g"
"""Stands for a row's number in values that are kept for later."""
_WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "harbor")
_PLACES = ("Bergen", "Cadiz", "Delft", "Evora", "Ghent", "Hull", "Izmir", "Kiel")
_NAMED: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"e_?mail", re.I), "'user' || {g} || '@example.com'"),
    (re.compile(r"(^|_)(url|uri|link|website|href)(_|$)", re.I), "'https://example.com/' || {g}"),
    (re.compile(r"phone|mobile|(^|_)tel(_|$)", re.I), "'+4930' || (1000000 + {g})"),
    (re.compile(r"(^|_)slug(_|$)", re.I), "'item-' || {g}"),
    (re.compile(r"(^|_)(ip|ip_address|host)(_|$)", re.I), "'10.0.' || ({g} / 250 % 250) || '.' || (1 + {g} % 250)"),
    (re.compile(r"currency", re.I), "'EUR'"),
    (re.compile(r"country", re.I), "'NO'"),
    (re.compile(r"city|town", re.I), "({places})[1 + ({g} % 8)::int]"),
)  # fmt: skip
_LONGEST = 2_000
"""Of texts that are made because a check speaks of their length."""
_WHOLE = {"int2": 30_000, "int4": 2_000_000_000, "int8": 9_000_000_000_000_000_000, "oid": 2_000_000_000}
_STRING = re.compile(r"'((?:[^']|'')*)'")
_JOINT = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|[()]|\s+AND\s+")
_REGEX = re.compile(r"~\*?\s+'((?:[^']|'')*)'")
_LIKE = re.compile(r"~~\*?\s+'((?:[^']|'')*)'")
_DOCUMENTS = ("'{}'", "'[]'", """'[{"number": 7}]'""", "'7'", "'true'", """'"text"'""")
_NUMBER = re.compile(r"(?<![\w.'\"])-?\d{1,9}(?:\.\d+)?(?![\w.'\"])")


def expression(column: ColumnOf, g: str, seed: int, variant: str = "") -> str | None:
    """SQL for the value of ``column`` in row ``g``; None for a type of which nothing is known.

    ``variant`` is "" for an ordinary value, else ``small`` or ``large``: the ends of what the type easily holds.
    """
    made = _of_type(column, g, seed, variant)
    return None if made is None else f"({made})::{column.type}"


def chosen(column: ColumnOf, g: str) -> list[str]:
    """SQL for the values that the column's checks are known to accept, for row ``g``; of a key those that differ from row to row."""
    differing = [text for text in column.choices if NUMBER in text]
    kept = differing if column.unique and differing else column.choices
    return [text.replace(NUMBER, g) for text in kept]


def candidates(column: ColumnOf, conditions: tuple[str, ...], g: str) -> list[str]:
    """SQL for values that ``conditions`` (checks that name the column) talk about: those may be the only ones allowed."""
    spoken = about(column, conditions)
    found: list[str] = []
    if column.base in ("json", "jsonb"):
        return [f"{text}::{column.type}" for text in _DOCUMENTS] if spoken else []
    for text in spoken:
        words, numbers = words_in(text), numbers_in(text)
        if column.category == "N":
            every = numbers + [word for word in words if _NUMBER.fullmatch(word)]
            between = () if column.base in _WHOLE else (0.5, -0.5)
            found += [
                f"({number} + {step})::{column.type}" for number in every for step in (0, 1, -1, *between)
            ]
        elif column.category == "D":
            found += [f"{literal(word)}::{column.type}" for word in words]
        elif column.category == "S":
            found += [f"({made})::{column.type}" for made in _matching(text, g)]
            found += [f"{literal(word)}::{column.type}" for word in words if len(word) < 200]
            lengths = [int(number) for number in numbers if number.isdigit() and 0 < int(number) <= _LONGEST]
            found += [
                f"left(repeat(md5({g}::text), {length // 32 + 1}), {length})::{column.type}"
                for number in lengths
                for length in (number, number + 1, number - 1)
                if length
            ]
        elif column.category in "EUV" and words:
            found += [f"{literal(word)}::{column.type}" for word in words]
    return list(dict.fromkeys(found))[:40]


def about(column: ColumnOf, conditions: Iterable[str]) -> list[str]:
    """The parts of ``conditions`` that name the column, and what its domain says. Pure."""
    named = re.compile(rf'(?<!\w)"?{re.escape(column.name)}"?(?!\w)')
    return [p for whole in conditions for p in conjuncts(whole) if named.search(p)] + list(column.domain)


def words_in(text: str) -> list[str]:
    """The texts that stand in a condition, as the server writes it."""
    return [match[1].replace("''", "'") for match in _STRING.finditer(text)]


def numbers_in(text: str) -> list[str]:
    """The numbers that stand in a condition outside its texts."""
    return [match[0] for match in _NUMBER.finditer(_STRING.sub("''", text))]


def conjuncts(condition: str) -> list[str]:
    """The parts of a condition, as the server writes it, that AND joins: what one says of its columns says nothing of another's. Pure."""
    if re.search(r"\bCASE\b", condition):
        return [condition]  # an AND of its own stands between no parentheses
    depth, start, found = 0, 0, []
    for match in _JOINT.finditer(condition):
        piece = match[0]
        if piece == "(":
            depth += 1
        elif piece == ")":
            depth -= 1
        elif depth == 0 and piece[0].isspace():
            found.append(condition[start : match.start()])
            start = match.end()
    found.append(condition[start:])
    if len(found) > 1:
        return [part for text in found for part in conjuncts(text.strip())]
    inner = condition.strip()
    whole = inner.startswith("(") and inner.endswith(")") and _closes(inner)
    return conjuncts(inner[1:-1]) if whole else [condition]


def _closes(text: str) -> bool:
    """Whether the first parenthesis ends with the last character."""
    depth = 0
    for match in _JOINT.finditer(text):
        depth += {"(": 1, ")": -1}.get(match[0], 0)
        if depth == 0 and match[0] == ")":
            return match.end() == len(text)
    return False


def _matching(condition: str, g: str) -> list[str]:
    """Texts that the patterns of a check accept."""
    made = [of_regex(match[1].replace("''", "'"), g) for match in _REGEX.finditer(condition)]
    made += [of_like(match[1].replace("''", "'"), g) for match in _LIKE.finditer(condition)]
    return [text for one in made if one for text in (one, f"upper({one})", f"lower({one})")]


_REFERS = re.compile(r"_(id|uuid)$", re.I)
_APART = 613
_TIMES = ("date", "timestamp", "timestamptz")
_LATER = re.compile(
    r"(^|_)(end|ends|ended|until|to|due|closed?|expires?|expiry|finish(ed)?|updated|deleted|paid|shipped|done)(_|$)",
    re.I,
)
"""What is named so comes after what is not: the end after the start."""
_NEAR = 10
"""What looks like a reference refers to one of the first rows, which every table has, also where no foreign key says so."""


def _of_type(column: ColumnOf, g: str, seed: int, variant: str) -> str | None:
    base = column.base
    seed = seed + crc32(column.name.encode()) % _APART  # two columns of one row are two values
    if _REFERS.search(column.name) and not column.unique and base in (*_WHOLE, "uuid"):
        near = f"(1 + {g} % {_NEAR})"
        return near if base in _WHOLE else _SIMPLE["uuid"].format(g=near, seed=seed)
    if column.labels:
        labels = ", ".join(map(literal, column.labels))
        place = {"small": "1", "large": str(len(column.labels))}.get(
            variant, f"1 + ({g} % {len(column.labels)})::int"
        )
        return f"(ARRAY[{labels}]::text[])[{place}]"
    if base in _WHOLE:
        return _whole(column, g, seed, variant)
    if base == "numeric":
        return _numeric(column, g, seed, variant)
    if base in ("float4", "float8", "money"):
        return f"{_spread(g, seed, 1000)} + 0.5" if not column.unique else f"{g} + 0.5"
    if base in ("text", "varchar", "bpchar", "citext", "name"):
        return _text(column, g, seed, variant)
    if column.category == "A" and column.element:
        element = ColumnOf(column.name, column.element, column.element, category="S")
        inner = _of_type(element, g, seed, variant)
        return None if inner is None else f"ARRAY[({inner})::{column.element}]"
    simple = _SIMPLE.get(base)
    if simple is not None:
        if base in _TIMES and _LATER.search(column.name):
            simple = f"{simple} + interval '800 days'"
        return simple.format(g=g, seed=seed, spread=_spread(g, seed, 700), width=max(1, column.modifier))
    return None


def _spread(g: str, seed: int, size: int) -> str:
    """A number from 0 to below ``size``, scattered over the rows."""
    return f"(({g}::bigint * 7919 + {seed}) % {size})"


def _whole(column: ColumnOf, g: str, seed: int, variant: str) -> str:
    if column.unique and column.base == "int8" and variant == "large":
        return f"5000000000 + {g}"
    if column.unique:
        return f"{g} % {_WHOLE[column.base]}" if column.base == "int2" else g
    if variant == "small":
        return "1"
    if variant == "large":
        return {"int2": "30000", "int8": "5000000000"}.get(column.base, "100000")
    return f"1 + {_spread(g, seed, 100)}"


def _numeric(column: ColumnOf, g: str, seed: int, variant: str) -> str:
    precision, scale = (
        ((column.modifier - 4) >> 16 & 0xFFFF, (column.modifier - 4) & 0x7FF)
        if column.modifier >= 4
        else (12, 2)
    )
    scale = scale if scale < 1024 else 0
    room = max(0, precision - scale)
    whole = f"{g} % {10 ** min(room, 17)}" if column.unique else _spread(g, seed, 10 ** min(room, 3))
    if variant == "small":
        whole = "0" if scale else "1" if room else "0"
    elif variant == "large":
        whole = str(10 ** min(room, 6) - 1)
    part = f"0.{'5' * min(scale, 2)}" if scale else "0"
    return f"{whole} + {part}"


def _text(column: ColumnOf, g: str, seed: int, variant: str) -> str:
    limit = column.modifier - 4 if column.modifier >= 4 and column.base in ("varchar", "bpchar") else 0
    limit = 63 if column.base == "name" else limit
    shape = next((made for pattern, made in _NAMED if pattern.search(column.name)), "")
    if shape:
        made = shape.format(g=g, places=_array(_PLACES))
    elif column.unique:
        made = f"'{_WORDS[seed % 8]}-' || {g}"
    elif variant == "small":
        made = "'ab'"
    else:
        made = f"({_array(_WORDS)})[1 + {_spread(g, seed, 8)}::int] || '-' || {_spread(g, seed + 1, 97)}"
    if variant == "large" and (not shape or "@example" in shape):
        # Longer than a column of letters is usually made, and still what the name promises.
        made = f"repeat('long', 300) || {made}"
    # The end holds the number, which keeps unique values apart.
    return f"right({made}, {limit})" if limit else made


def _array(words: tuple[str, ...]) -> str:
    return "ARRAY[" + ", ".join(map(literal, words)) + "]"


_SIMPLE = {
    "bool": "{g} % 2 = 0",
    "uuid": "md5({g}::text || '/{seed}')::uuid",
    "date": "date '2024-01-01' + {spread}::int",
    "timestamp": "timestamp '2024-01-01' + {g} * interval '1 minute'",
    "timestamptz": "timestamptz '2024-01-01 00:00:00+00' + {g} * interval '1 minute'",
    "time": "time '08:00' + {spread} * interval '1 minute'",
    "timetz": "time '08:00' + {spread} * interval '1 minute'",
    "interval": "{spread} * interval '1 minute'",
    "json": "json_build_object('number', {g}, 'note', md5({g}::text))",
    "jsonb": "jsonb_build_object('number', {g}, 'note', md5({g}::text))",
    "bytea": "decode(md5({g}::text), 'hex')",
    "inet": "('10.' || ({g} / 62500 % 250) || '.' || ({g} / 250 % 250) || '.' || (1 + {g} % 250))::inet",
    "cidr": "('10.' || ({g} / 62500 % 250) || '.' || ({g} / 250 % 250) || '.' || (1 + {g} % 250) || '/32')::cidr",
    "macaddr": "('08:00:2b:' || lpad(to_hex(({g} / 65536 % 256)::int), 2, '0') || ':' || lpad(to_hex(({g} / 256 % 256)::int), 2, '0') || ':' || lpad(to_hex(({g} % 256)::int), 2, '0'))::macaddr",
    "bit": "lpad({g}::bit(62)::text, {width}, '0')::bit({width})",
    "varbit": "B'1011'",
    "xml": "('<row>' || {g} || '</row>')::xml",
    "point": "point({g} % 180, {g} % 90)",
    "box": "box(point({g} % 180, 0), point({g} % 180 + 1, 1))",
    "circle": "circle(point({g} % 180, 0), 1)",
    "tsvector": "to_tsvector('simple', 'row ' || {g})",
    "tsquery": "to_tsquery('simple', 'row')",
    "int4range": "int4range({g}::int, {g}::int + 1)",
    "int8range": "int8range({g}, {g} + 1)",
    "numrange": "numrange({g}, {g} + 1)",
    "daterange": "daterange(date '2024-01-01' + ({g} % 100000)::int, date '2024-01-02' + ({g} % 100000)::int)",
    "tsrange": "tsrange(timestamp '2024-01-01' + {g} * interval '1 hour', timestamp '2024-01-01 01:00' + {g} * interval '1 hour')",
    "tstzrange": "tstzrange(timestamptz '2024-01-01' + {g} * interval '1 hour', timestamptz '2024-01-01 01:00' + {g} * interval '1 hour')",
    "vector": "('[' || array_to_string(array_fill((0.1 + {g} % 9)::float4, ARRAY[{width}]), ',') || ']')",
    "halfvec": "('[' || array_to_string(array_fill((0.1 + {g} % 9)::float4, ARRAY[{width}]), ',') || ']')",
    "ltree": "'row.' || {g}",
    "hstore": "'number=>' || {g}",
    "regconfig": "'simple'",
    "regclass": "'pg_catalog.pg_class'",
    "regtype": "'text'",
}
