"""``doctor``: what the catalogue and what the history say, and whether the live schema is still the recorded one."""

from lockgate.config import Roles
from lockgate.migrations import checkup as history_checkup
from lockgate.migrations import drift
from lockgate.migrations.limits import Limits
from lockgate.postgres import doctor, home
from lockgate.postgres.doctor import Finding, Severity
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from lockgate.record.verdict import Verdict
from lockgate.release.leftovers import leftovers
from lockgate.release.look import connect_patiently

_RANK = {"error": 0, "warning": 1, "info": 2}


def checkup(target: Target, roles: Roles, limits: Limits, variable: str = "") -> list[Finding]:
    """Every finding on ``target``, errors first; ``variable`` is the environment variable with its URL, "" for none. Reads only. Raises ``Unreachable``."""
    wire = connect_patiently(target, "doctor", limits, None)
    try:
        found = [
            *history_checkup.examine(wire),
            *doctor.examine(wire, roles, f'"${variable}"' if variable else target.address),
            *_drift(wire),
            *leftovers(wire),
        ]
    finally:
        wire.close()
    return sorted(found, key=lambda finding: _RANK.get(finding.severity, 3))


def _drift(wire: Wire) -> list[Finding]:
    try:
        if not home.exists(wire):
            return []
        seen = drift.compare(wire)
    except ServerError as error:
        return [
            Finding(
                "drift-unreadable",
                "warning",
                f"the schema's digest cannot be compared: {error.message}",
                error.sqlstate,
                "lockgate roles prints the SQL that grants it",
            )
        ]
    if seen.verdict is Verdict.PASS:
        return []
    severity: Severity = "error" if seen.verdict is Verdict.FAIL else "info"
    return [
        Finding(
            "schema-drift" if severity == "error" else "schema-digest-missing",
            severity,
            seen.note,
            "",
            "lockgate verify names the objects",
        )
    ]
