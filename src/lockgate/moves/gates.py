"""What ``[gates]`` of a declaration asks to be shown before a cutover."""

from lockgate.errors import Refused
from lockgate.moves.backfill import outside
from lockgate.moves.declaration import Gates
from lockgate.postgres.link import Link


def refuse_outside(home: Link, name: str, gates: Gates) -> None:
    """Raise ``Refused`` (``OUTSIDE_WINDOW``) when it is not the time for the cutover, by the server's clock."""
    if reason := outside(gates.cutover_windows, home.value("SELECT clock_timestamp()")):
        raise Refused(
            f"the cutover of the move {name} is {reason}", "OUTSIDE_WINDOW",
            next="Wait for the window, or change gates.cutover_windows in its declaration.",
        )  # fmt: skip


def refuse_unshadowed(home: Link, name: str, gates: Gates) -> None:
    """Raise ``Refused`` (``MOVE_STAGE``) until so many shadow reads as declared were seen since the start, all of them equal."""
    wanted = gates.shadow_reads
    if not wanted:
        return
    seen, bad = home.rows(
        "SELECT count(*), count(*) FILTER (WHERE equal IS NOT TRUE) FROM lockgate.move_shadow WHERE move = $1 AND at > COALESCE((SELECT started_at FROM lockgate.move WHERE name = $1), '-infinity')",
        name,
    )[0]  # fmt: skip
    if seen < wanted or bad:
        raise Refused(
            f"shadow reads: {seen} of {wanted} seen, {bad} of them not equal",
            "MOVE_STAGE",
            next=f"lockgate move shadow {name} --queries FILE",
            details={"seen": seen, "unequal": bad},
        )
