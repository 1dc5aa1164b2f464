"""``doctor``: what the catalogue and what the history say, and whether the live schema is still the recorded one."""

import msgspec

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
from lockgate.record.words import counted
from lockgate.release.index_seals import index_seals
from lockgate.release.leftovers import leftovers
from lockgate.release.look import connect_patiently
from lockgate.release.project import Files

_RANK = {"error": 0, "warning": 1, "info": 2}


def checkup(
    target: Target, roles: Roles, limits: Limits, variable: str = "", files: Files | None = None
) -> list[Finding]:
    """Every finding on ``target``, errors first; ``variable`` is the environment variable with its URL, "" for none. Reads only. Raises ``Unreachable``.

    With ``files`` what they and the history make of each other counts, too: nothing is healthy while ``up`` would refuse.
    """
    wire = connect_patiently(target, "doctor", limits, None)
    try:
        found = [
            *history_checkup.examine(wire, files.migrations if files is not None else ()),
            *(_problems(files) if files is not None else ()),
            *doctor.examine(wire, roles, f'"${variable}"' if variable else target.address),
            *_drift(wire),
            *leftovers(wire),
            *index_seals(wire),
        ]
    finally:
        wire.close()
    found = _while_a_run_lives(found)
    return sorted(found, key=lambda finding: _RANK.get(finding.severity, 3))


def _problems(files: Files) -> list[Finding]:
    problems = [
        one for one in files.problems if one.id != "NO_FILES"
    ]  # outside of a project the database alone counts
    if not problems:
        return []
    first = problems[0]
    return [
        Finding(
            "files-refused", "error", f"{counted(len(problems), 'problem')} in the files of migrations: up refuses them",
            f"{first.file}:{first.line}: {first.id}: {first.message}", "lockgate check",
        )
    ]  # fmt: skip


def _while_a_run_lives(found: list[Finding]) -> list[Finding]:
    """``found``, told once each; a file that a run which is under way has begun is no error, and nobody has to call it again."""
    seen: set[tuple[str, str]] = set()
    kept = []
    for one in found:
        key = (one.id, "" if one.id == "schema-digest-missing" else one.message)
        if key not in seen:
            seen.add(key)
            kept.append(one)
    if not any(one.id == "run-live" for one in kept):
        return kept
    return [
        msgspec.structs.replace(one, severity="info", next="Wait for the run that is under way.")
        if one.id == "partial-file"
        else one
        for one in kept
    ]


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
