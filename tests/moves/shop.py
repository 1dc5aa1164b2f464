"""Functions that make columns of the table ``item``, as an application has them."""

from decimal import Decimal

from lockgate.moves.transforms import transform

refused = {"v77"}
"""Words that ``tagged`` makes nothing of; a test mends that."""
mood = [""]
"""What ``moody`` adds; a test changes it."""


@transform(version="2")
def tagged(v: str | None, u: int | None) -> str | None:
    if v in refused:
        raise ValueError(f"{v} has no tag")
    return None if v is None else f"{(u or 0) % 5}:{v}"


@transform(version="1")
def untagged(v: str | None) -> str | None:
    return None if v is None else v.partition(":")[2]


@transform(version="1")
def halved(n: Decimal | None) -> Decimal | None:
    return None if n is None else n / 2


@transform(version="1")
def moody(v: str | None) -> str | None:
    return None if v is None else v + mood[0]


@transform(version="1")
def louder(v: str | None) -> str | None:
    return None if v is None else v.upper()


_calls = [0]


@transform(version="1")
def numbered(v: str | None) -> str:
    _calls[0] += 1
    return f"{v}{_calls[0]}"
