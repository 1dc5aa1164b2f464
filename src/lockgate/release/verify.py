"""After the run: does the database hold what the plan said? Each check gives its answer with evidence."""

import msgspec

from lockgate.migrations import drift
from lockgate.migrations.files import Migration
from lockgate.migrations.history import read_history
from lockgate.migrations.limits import Limits
from lockgate.migrations.plan import resolve
from lockgate.postgres import home
from lockgate.postgres.target import Target
from lockgate.record.verdict import Verdict
from lockgate.record.words import counted
from lockgate.release.look import connect_patiently

_INVALID = """
SELECT i.indexrelid::regclass::text FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE NOT (i.indisvalid AND i.indisready AND i.indislive) AND c.relkind = 'i' AND n.nspname NOT LIKE 'pg\\_%' ORDER BY 1
"""


class Check(msgspec.Struct, frozen=True, rename="camel"):
    """One check: ``answer`` is pass, fail or hold; ``details`` is the evidence."""

    id: str
    answer: Verdict
    details: str

    @property
    def passed(self) -> bool:
        """True for pass only: what cannot be told does not pass."""
        return self.answer is Verdict.PASS


def _check(name: str, holds: bool, details: str) -> Check:
    return Check(name, Verdict.PASS if holds else Verdict.FAIL, details)


def verify(
    target: Target, migrations: tuple[Migration, ...], limits: Limits, *, until: str = ""
) -> list[Check]:
    """Read the database and compare it with the files up to revision ``until`` ("" means all)."""
    wire = connect_patiently(target, "verify", limits, None)
    try:
        if not home.exists(wire):
            return [
                _check("history-exists", False, "there is no schema lockgate: nothing was ever applied here")
            ]
        history = read_history(wire)
        plan = resolve(migrations, history)
        pending = [revision for revision, _ in plan.pending if not until or revision <= until]
        invalid = [row[0] or "" for row in wire.one(_INVALID).rows]
        seen = drift.compare(wire)
    finally:
        wire.close()
    return [
        _check(
            "history-chain",
            not history.broken,
            history.broken or f"{counted(len(history.rows), 'row')}, head {history.head[:12]}",
        ),
        _check(
            "history-equals-plan",
            not plan.obstacles and not pending,
            "; ".join([f"{o.code} {o.revision}" for o in plan.obstacles] + [f"pending {r}" for r in pending])
            or f"all files up to {plan.base} are applied with these checksums",
        ),
        _check(
            "no-partial-file",
            not history.partial,
            f"half done: {', '.join(history.partial)}"
            if history.partial
            else "no journal without a history row",
        ),
        _check(
            "no-invalid-index",
            not invalid,
            f"invalid: {', '.join(invalid)}" if invalid else "every index is valid",
        ),
        Check("schema-drift", seen.verdict, _told(seen)),
    ]


def _told(seen: drift.Drift) -> str:
    if seen.verdict is Verdict.PASS:
        half = "" if seen.digest == seen.expected else f" ({seen.note})"
        return f"the live schema is the one that the history left, {seen.digest[:12]}{half}"
    named = ", ".join(str(change) for change in seen.changes[:20])
    more = f" and {len(seen.changes) - 20} more" if len(seen.changes) > 20 else ""
    return f"{seen.note}: {named}{more}" if named else seen.note
