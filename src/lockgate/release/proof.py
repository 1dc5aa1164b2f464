"""What has to be shown before anything is touched: room on the server, no drift, the results of CI, the plan on staging."""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from lockgate.config import Settings
from lockgate.errors import Refused
from lockgate.migrations import drift
from lockgate.postgres.pressure import Pressure
from lockgate.postgres.wire import Wire
from lockgate.record.reasons import Exit
from lockgate.record.verdict import Verdict
from lockgate.release.verify import Check


def refuse_drift(wire: Wire) -> str:
    """Refuse to apply on top of a schema that somebody changed by hand; returns what was compared."""
    seen = drift.compare(wire)
    if seen.verdict is Verdict.FAIL:
        named = ", ".join(str(change) for change in seen.changes[:10])
        raise Refused(
            f"{seen.note}: {named}",
            "SCHEMA_DRIFT",
            next="Undo it, or let it stand: lockgate repair --accept-schema --reason TEXT --actor WHO",
            exit=Exit.REFUSED,
            details={"changes": [str(change) for change in seen.changes]},
        )
    return seen.note or f"no drift, {seen.digest[:12]}"


def refuse_no_room(pressure: Pressure, least: int) -> None:
    """Refuse to start where a release would take the last connections. ``NO_HEADROOM``."""
    if pressure.free < least:
        raise Refused(
            f"{pressure.used} of {pressure.most} connections are in use; release.min_free_connections is {least}",
            "NO_HEADROOM",
            details=msgspec.to_builtins(pressure),
        )


def pressure_checks(pressure: Pressure, percent: int, age: float) -> list[Check]:
    """Connections and long transactions within their limits, as checks of the verification."""
    used = 100 * pressure.used / max(1, pressure.most)
    oldest = pressure.oldest_seconds
    return [
        Check(
            "connections-within-limit",
            Verdict.PASS if used <= percent else Verdict.FAIL,
            f"{pressure.used} of {pressure.most} connections in use, the limit is {percent} %",
        ),
        Check(
            "no-long-transaction",
            Verdict.PASS if oldest <= age else Verdict.FAIL,
            f"the oldest open transaction is {oldest:.0f} s old, the limit is {age:.0f} s"
            + (f": {pressure.oldest}" if oldest > age else ""),
        ),
    ]


def read_ci_results(names: Sequence[str], root: Path, sha: str) -> list[str]:
    """Look at the result files of CI: each has to be there, to pass, and to be of this sha. ``CI_RESULT_MISSING``."""
    told = []
    for name in names:
        path = root / name.replace("{sha}", sha)
        try:
            content: Any = json.loads(path.read_text("utf-8"))
        except OSError as error:
            raise Refused(f"{path}: {error.strerror}", "CI_RESULT_MISSING") from None
        except ValueError:
            raise Refused(f"{path} is not JSON", "CI_RESULT_MISSING") from None
        if not isinstance(content, dict):
            raise Refused(f"{path} is no JSON object", "CI_RESULT_MISSING")
        status = str(content.get("status", content.get("verdict", ""))).lower()
        of = str(content.get("headSha", content.get("sha", "")))
        if status not in ("pass", "passed", "success", "succeeded"):
            raise Refused(f"{path} says {status or 'nothing'!r}", "CI_RESULT_MISSING")
        if of and of != sha:
            raise Refused(f"{path} is of {of[:12]}, not of {sha[:12]}", "CI_RESULT_MISSING")
        told.append(f"{name.replace('{sha}', sha)}: {status}")
    return told


def refuse_not_rehearsed(
    settings: Settings, plan_hash: str, now: datetime, server_version: int, environment: str = ""
) -> str:
    """Refuse without a rehearsal of this very plan that passed lately on this major version; returns what it says."""
    from lockgate.rehearsal.proof import fresh

    found = fresh(
        settings,
        plan_hash,
        now=now,
        server_version=server_version,
        releases=settings.env[environment].require_queries if environment in settings.env else (),
    )
    if found.answer is not Verdict.PASS:
        raise Refused(
            found.details,
            found.reason_code,
            next=found.next(environment),
            exit=Exit.HOLD if found.answer is Verdict.HOLD else Exit.REFUSED,
        )
    return found.details


_STAGED = "SELECT run_id, COALESCE(release_id, '') FROM lockgate.run WHERE plan_hash = $1 AND state = 'succeeded' ORDER BY started_at DESC LIMIT 1"


def refuse_not_staged(wire: Wire, plan_hash: str, environment: str) -> str:
    """Refuse a plan that never went through ``environment``; returns the run that did. ``PLAN_NOT_STAGED``."""
    if wire.value("SELECT pg_catalog.to_regclass('lockgate.run') IS NOT NULL") != "t":
        raise Refused(f"{environment} has no history of lockgate", "PLAN_NOT_STAGED")
    rows = wire.one(_STAGED, plan_hash).rows
    if not rows:
        raise Refused(f"no run of plan {plan_hash[:12]} succeeded on {environment}", "PLAN_NOT_STAGED")
    return f"run {rows[0][0]} of release {rows[0][1] or 'none'} passed on {environment}"
