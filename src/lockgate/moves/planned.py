"""What ``move plan`` tells of a move, of whichever kind it is, and the refusal to begin one that something stands in the way of."""

import msgspec

from lockgate.errors import Refused


class Planned(msgspec.Struct, frozen=True, rename="camel"):
    """What a move would do, and what stands in its way: ``problems`` as (what, fix)."""

    name: str
    source: str
    target: str
    target_exists: bool
    key: tuple[str, ...]
    columns: dict[str, str]
    rows: int
    problems: list[dict[str, str]]
    steps: list[str]
    notes: list[str]


class PlannedInServer(Planned, frozen=True, kw_only=True):
    """The same of a move within PostgreSQL, which tells the size of its tables."""

    bytes: int
    batches: int


def refuse_problems(planned: Planned) -> None:
    """Raise ``Refused`` (``MOVE_REFUSED``) with the first thing that stands in the way, all of them in its details."""
    if not planned.problems:
        return
    first, *others = planned.problems
    raise Refused(
        f"the move {planned.name} cannot start: {first['what']}" + (f" (and {len(others)} more)" if others else ""),
        "MOVE_REFUSED", next=first["fix"], details={"problems": planned.problems},
    )  # fmt: skip
