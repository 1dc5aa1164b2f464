"""Functions that make columns, as an application has them."""

import datetime as dt
from decimal import Decimal

from lockgate.moves.transforms import transform

refused = {"poison"}
"""Words that ``marked`` makes nothing of; a test mends that."""


@transform(version="1")
def doubled(n: Decimal | None) -> Decimal | None:
    return None if n is None else n * 2


@transform(version="1")
def halved(n: Decimal | None) -> Decimal | None:
    return None if n is None else n / 2


@transform(version="2")
def marked(u: str | None, number: int) -> str | None:
    if u in refused:
        raise ValueError(f"{u} has no mark")
    return None if u is None else f"{number % 7}:{u}"


@transform(version="1")
def unmarked(u: str | None) -> str | None:
    return None if u is None else u.partition(":")[2]


@transform(version="1")
def lossy(u: str | None) -> str | None:
    return None if u is None else u.upper()


_calls = [0]


@transform(version="1")
def counted(u: str | None) -> str:
    _calls[0] += 1
    return f"{u}{_calls[0]}"


@transform(version="1")
def kinds(s, b, n, f, ok, d, ts, j) -> str:
    wanted = (str, bytes, Decimal, float, bool, dt.date, dt.datetime, str)
    return ",".join(
        type(v).__name__ for v, w in zip((s, b, n, f, ok, d, ts, j), wanted, strict=True) if type(v) is not w
    )


def unversioned(u: str) -> str:
    return u
