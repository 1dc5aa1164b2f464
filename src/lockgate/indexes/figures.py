"""The figures of a drift as one look: what a watch judges, what an event keeps, what the metrics show."""

from lockgate.indexes.drift import Drift
from lockgate.indexes.watching import Look


def figures(drift: Drift, at: float, errors: float = 0.0, other: float = 0.0) -> Look:
    """The figures of a drift as a look."""
    value = {c.id: c.value for c in drift.checks}
    queries = max(1, sum(drift.spread.states.values()))
    calm = drift.spread.states.get("convergent", 0) / queries
    return Look(
        at, value.get("delta-s-diff"), value.get("delta-s-p95"), value.get("coverage"), calm, 1 - calm, errors, other,
        drift.spread.states,
    )  # fmt: skip
