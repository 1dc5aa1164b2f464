"""How heavy a plan is, by what its files say of themselves: it sets approvals, windows and the length of the watch."""

from collections.abc import Iterable
from enum import IntEnum

from lockgate.migrations.contract import Prepared

HEAVY_SECONDS, HEAVY_ROWS = 60.0, 1_000_000
NOTABLE_SECONDS, NOTABLE_ROWS = 5.0, 50_000


class Impact(IntEnum):
    """Ordered: none (nothing to apply), low, medium, high."""

    NONE = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3

    @property
    def word(self) -> str:
        """The class in lower case, as settings and artifacts name it."""
        return self.name.lower()


def impact_of(prepared: Iterable[Prepared]) -> tuple[Impact, str]:
    """The class of the heaviest file, and why. A contract-phase file is high whatever it estimates: it takes something away."""
    worst, why = Impact.NONE, "nothing to apply"
    for item in prepared:
        d = item.directives
        seconds, rows = float(d.estimate_seconds or 0), int(d.estimate_rows or 0)
        if d.phase == "contract":
            found, reason = Impact.HIGH, "it is of the contract phase"
        elif seconds >= HEAVY_SECONDS or rows >= HEAVY_ROWS:
            found, reason = Impact.HIGH, f"it estimates {seconds:g} s and {rows} rows"
        elif seconds >= NOTABLE_SECONDS or rows >= NOTABLE_ROWS:
            found, reason = Impact.MEDIUM, f"it estimates {seconds:g} s and {rows} rows"
        elif not d.transaction:
            found, reason = Impact.MEDIUM, "it runs outside a transaction"
        else:
            found, reason = Impact.LOW, "it estimates nothing heavy"
        if found > worst:
            worst, why = found, f"{item.migration.file}: {reason}"
    return worst, why
