"""Constants of a text, as ``datum`` writes them, and what casts make of them as far as that is sure without a server.

Numbers and moments are rounded as the server does it. What a cast may cut or turn is not known.
"""

import operator
import re
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal, InvalidOperation
from struct import pack, unpack
from typing import Any

Tree = dict[str, Any]
BLANK = "⟨blank⟩"
"""What stands in a kept body where a constant stood (``blanking.py``)."""
_EPOCH = datetime.fromisoformat("2000-01-01")
_FLOATS = frozenset({"float4", "float8"})
_INTEGERS = frozenset({"int2", "int4", "int8"})
_TEXTS = frozenset({"text", "varchar", "bpchar"})
_MOMENTS = frozenset({"timestamp", "timestamptz"})
_SINGLE = frozenset({"uuid", "interval", "time", "inet", "bytea", "oid"})
"""Types whose texts are read in one way, whatever the settings are."""
_OTHERS = frozenset({
    "uuid", "inet", "cidr", "interval", "json", "jsonb", "bytea", "time", "timetz", "money", "name", "char",
})  # fmt: skip
BUILT_IN_CASTS = _INTEGERS | _TEXTS | _MOMENTS | _OTHERS | {"numeric", "float4", "float8", "bool", "date"}
_WHOLE = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?")
_OFFSET = re.compile(r"(Z|[+-]\d\d(:?\d\d)?)?")
_SMALL = re.compile(r"n:-?\d{1,9}")
_HOLDS = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def strings(items: list[Tree]) -> list[str]:
    """The parts of a dotted name."""
    return [item["String"].get("sval", "") for item in items if "String" in item]


def datum(node: Any) -> str:
    """A constant as a text: ``n:5``, ``s:a``, ``d:2024-01-01`` of a type that was named, ``b:true``, ``null``, ``min`` and
    ``max`` of bounds; ``?`` for anything else, and for what a cast may change."""
    if not isinstance(node, dict):
        return "?"
    if "TypeCast" in node:
        cast, kind = node["TypeCast"], node["TypeCast"].get("typeName", {})
        return (
            "?"
            if _array(kind)
            else became(datum(cast.get("arg")), _type(kind), mods_of(kind), cast_of(cast.get("arg", {})))
        )
    if "ColumnRef" in node:
        name = strings(node["ColumnRef"].get("fields", []))[-1:]
        return {"minvalue": "min", "maxvalue": "max"}.get(name[0] if name else "", "?")
    value = node.get("A_Const")
    if not isinstance(value, dict):
        return _worked_out(node.get("A_Expr", {}))
    if value.get("isnull"):
        return "null"
    if BLANK in value.get("sval", {}).get("sval", ""):
        return "?"
    if "sval" in value:
        return f"s:{value['sval'].get('sval', '')}"
    if "ival" in value:
        return f"n:{value['ival'].get('ival', 0)}"
    if "boolval" in value:
        return f"b:{str(value['boolval'].get('boolval', False)).lower()}"
    if "fval" in value:
        return f"n:{value['fval'].get('fval', '')}"
    return _bits(value.get("bsval", {}).get("bsval", ""))


def _bits(text: str) -> str:
    """B'…' or X'…', a bit string with each bit written out."""
    if text[:1] == "x" and text[1:]:
        return f"d:{int(text[1:], 16):0{4 * len(text[1:])}b}"
    return f"d:{text[1:]}" if text[:1] == "b" else "?"


def _worked_out(node: Tree) -> str:
    """A sign, and sums and products of whole numbers without a cast, which the planner works out beforehand."""
    if node.get("kind") != "AEXPR_OP":
        return "?"
    name, one, other = strings(node.get("name", [])), node.get("lexpr"), datum(node.get("rexpr"))
    if name == ["-"] and one is None and other[:2] == "n:":
        return f"n:{other[3:]}" if other[2:3] == "-" else f"n:-{other[2:]}"
    first = datum(one) if one is not None else "?"
    if name[:1] not in (["+"], ["-"], ["*"]) or not (_SMALL.fullmatch(first) and _SMALL.fullmatch(other)):
        return "?"
    if "TypeCast" in repr(node):
        return "?"  # of another type than its text tells
    a, b = int(first[2:]), int(other[2:])
    return f"n:{a + b if name == ['+'] else a - b if name == ['-'] else a * b}"


def became(datum: str, kind: str, mods: tuple[int, ...], source: str) -> str:
    """``datum`` after a cast to ``kind(mods)``; ``source``: the type that a cast gave it before, else ""."""
    form, _, value = datum.partition(":")
    of_text = source in ("", "text", "varchar")
    if datum in ("null", "?"):
        return datum
    if kind in _TEXTS:
        cut = (mods and len(value) > mods[0]) or (kind == "bpchar" and value != value.rstrip(" "))
        return datum if form == "s" and of_text and not cut else "?"
    if form == "b":
        return datum if kind == "bool" else "?"
    value = value.strip()
    if kind in _INTEGERS:
        if form == "n" and _NUMBER.fullmatch(value):
            return rounded(value, 0, even=source in _FLOATS)
        return f"n:{int(value)}" if _WHOLE.fullmatch(value) else "?"
    if kind == "numeric" and _WHOLE.fullmatch(value) and not mods:
        return f"n:{int(value)}"
    if kind == "numeric" and mods and source not in _FLOATS:
        return rounded(value, mods[1] if len(mods) > 1 else 0) if _NUMBER.fullmatch(value) else "?"
    if kind == "numeric":
        return f"n:{value}" if _NUMBER.fullmatch(value) and not mods else "?"
    if kind in ("float4", "float8"):
        return f"n:{value}" if _NUMBER.fullmatch(value) and _kept(value, kind) else "?"
    if form == "n":
        return "?"
    if kind == "bool":
        return f"d:{value}"
    if kind == "date":
        day = value[:10] if source == "timestamp" else value
        return f"d:{day}" if _DAY.fullmatch(day) else "?"
    if kind in _MOMENTS:
        found = _MOMENT.match(value)
        rest = value[found.end() :] if found else "?"
        sure = _OFFSET.fullmatch(rest) if kind == "timestamptz" and found and found[1] else not rest
        if found and sure and mods and "." in value:
            moment = _moment(found[0], mods[0])
            return f"d:{moment}{rest}" if moment else "?"
        return f"d:{value}" if sure else "?"
    if kind in _SINGLE and not mods:
        return f"d:{value}"
    return "?"


def rounded(value: str, digits: int, *, even: bool = False) -> str:
    """A number with so many digits behind its point; halves go away from zero, or to the even neighbour."""
    try:
        number = Decimal(value).quantize(
            Decimal(1).scaleb(-digits), ROUND_HALF_EVEN if even else ROUND_HALF_UP
        )
    except InvalidOperation:
        return "?"
    return f"n:{number:f}"


def _moment(text: str, digits: int) -> str:
    """A moment with so many digits of a second; halves go away from the year 2000, "" when it is none."""
    try:
        away = datetime.fromisoformat(text.replace("T", " ")) - _EPOCH
    except ValueError:
        return ""
    unit = timedelta(microseconds=10 ** max(6 - digits, 0))
    half = unit // 2 if away >= timedelta(0) else unit - unit // 2 - timedelta(microseconds=1)
    try:
        return (_EPOCH + (away + half) // unit * unit).isoformat(" ")
    except OverflowError:
        return ""


def _kept(value: str, kind: str) -> bool:
    """Whether a float has so many digits."""
    digits = len(value.lstrip("+-0").replace(".", ""))
    if kind == "float8":
        return digits <= 15
    return digits <= 6 and bool(unpack("<f", pack("<f", float(value)))[0] == float(value))


def truth(part: Tree) -> bool | None:
    """What the planner makes of a condition without a column, false for NULL: two whole numbers or two texts compared, or a constant.

    None where that is not sure.
    """
    value = datum(part)
    if value in ("b:true", "b:false", "null"):
        return value == "b:true"
    joined = part.get("BoolExpr", {})
    if joined.get("boolop") == "NOT_EXPR":
        inner = joined["args"][0]
        found = None if datum(inner) == "null" else truth(inner)
        return None if found is None else not found
    node = part.get("A_Expr", {})
    (name, *_), one, other = (*strings(node.get("name", [])), ""), node.get("lexpr"), node.get("rexpr")
    if node.get("kind") != "AEXPR_OP" or name not in _HOLDS:
        return None
    a, b = datum(one), datum(other)
    if _SMALL.fullmatch(a) and _SMALL.fullmatch(b):
        return bool(_HOLDS[name](int(a[2:]), int(b[2:])))
    plain = a[:2] == b[:2] == "s:" and cast_of(one or {}) == cast_of(other or {}) == ""
    return bool(_HOLDS[name](a, b)) if plain and name in ("=", "<>") else None


def negative(item: Tree) -> Tree | None:
    """What stands behind a minus sign."""
    node = item.get("A_Expr", {})
    minus = "lexpr" not in node and strings(node.get("name", [])) == ["-"]
    return dict(node.get("rexpr", {})) if minus else None


def cast_of(item: Tree) -> str:
    """The type that a constant is cast to, behind its sign; else ""."""
    item = negative(item) or item
    if "TypeCast" not in item:
        return ""
    return _type(item["TypeCast"].get("typeName", {}))


def _type(kind: Tree) -> str:
    return (strings(kind.get("names", [])) or [""])[-1]


def _array(kind: Tree) -> bool:
    return "arrayBounds" in kind


def mods_of(kind: Tree) -> tuple[int, ...]:
    """Length, or precision and scale, of a type that is named."""
    given = [item.get("A_Const", {}).get("ival", {}).get("ival", 0) for item in kind.get("typmods", ())]
    return tuple([number for number in given if isinstance(number, int)])
