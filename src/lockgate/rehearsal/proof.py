"""Has this very plan been rehearsed, did it pass, and is that fresh? What ``up`` asks before a protected environment."""

import shlex
from datetime import UTC, datetime, timedelta

import msgspec

from lockgate.config import Settings
from lockgate.record.verdict import Verdict
from lockgate.rehearsal.artifact import path_of

MAX_AGE = timedelta(days=7)
"""How long a rehearsal counts. The plan hash says that files and base are the same; servers and lockgate move on."""


class Proof(msgspec.Struct, frozen=True, rename="camel"):
    """The answer: pass opens; ``reason_code`` and ``details`` tell why it is not pass, or what passed when.

    ``cause`` is the reason code of the rehearsal itself, where there is one that did not pass.
    """

    answer: Verdict
    details: str
    reason_code: str = ""
    cause: str = ""

    def next(self, environment: str = "") -> str:
        """What to type: the rehearsal on top of what is applied, and where the same one would hold again, what is to be different."""
        place = f" --env {shlex.quote(environment)}" if environment else ""
        call = (
            f"lockgate status{place} --format json > status.json; lockgate rehearse --from-status status.json"
        )
        if self.cause == "DATA_DEPENDENT":
            return f"Count in production the rows that the file would refuse; where there are none, rehearse without made-up rows: {call} --rows 0"
        if self.reason_code == "REHEARSAL_HELD":
            return f"Mend what checks[] in rehearsal.json names; what depends on the rows of production is shown by lockgate snapshot: {call} --snapshot snapshot.json"
        if self.reason_code == "REHEARSAL_FAILED":
            return f"Mend what checks[] in rehearsal.json names, then {call}"
        return call


class _Rehearsed(msgspec.Struct, rename="camel"):
    plan_hash: str
    verdict: str
    generated_at: str
    server: dict[str, int | str]
    reason_code: str = ""


def fresh(
    settings: Settings,
    plan_hash: str,
    *,
    now: datetime,
    server_version: int = 0,
    max_age: timedelta = MAX_AGE,
) -> Proof:
    """Read ``rehearsal.json`` of ``plan_hash`` and judge it; see ``judge``. Changes nothing, asks no database."""
    path = path_of(settings, plan_hash)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        data = None
    except OSError as error:
        return Proof(Verdict.HOLD, f"{path} cannot be read: {error.strerror}", "REHEARSAL_MISSING")
    return judge(data, plan_hash, now=now, server_version=server_version, max_age=max_age)


def judge(
    data: bytes | None,
    plan_hash: str,
    *,
    now: datetime,
    server_version: int = 0,
    max_age: timedelta = MAX_AGE,
) -> Proof:
    """Whether ``data`` (None: there is no file) proves ``plan_hash``. Pure.

    ``server_version`` is production's server_version_num; where it is given, a rehearsal on another major version does
    not count. Only pass opens: what is missing, old, unreadable or of another plan does not.
    """
    if data is None:
        return Proof(Verdict.FAIL, f"there is no rehearsal of the plan {plan_hash[:12]}", "REHEARSAL_MISSING")
    try:
        found = msgspec.json.decode(data, type=_Rehearsed)
        at = datetime.fromisoformat(found.generated_at)
    except (msgspec.DecodeError, ValueError) as error:
        return Proof(Verdict.HOLD, f"rehearsal.json cannot be read: {error}", "REHEARSAL_MISSING")
    if found.plan_hash != plan_hash:
        told = f"the rehearsal is of the plan {found.plan_hash[:12]}, not of {plan_hash[:12]}"
        return Proof(Verdict.FAIL, told, "REHEARSAL_MISSING")
    if found.verdict != Verdict.PASS:
        held = found.verdict == Verdict.HOLD
        return Proof(
            Verdict.HOLD if held else Verdict.FAIL,
            f"the rehearsal of {found.generated_at} did not pass: {found.reason_code or found.verdict}",
            "REHEARSAL_HELD" if held else "REHEARSAL_FAILED",
            found.reason_code,
        )
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    if now - at > max_age or at - now > timedelta(hours=1):
        told = f"the rehearsal of {found.generated_at} is older than {max_age.days} days, or not of this time"
        return Proof(Verdict.FAIL, told, "REHEARSAL_STALE")
    major = int(found.server.get("version", 0)) // 10000
    if server_version and major != server_version // 10000:
        told = f"it was rehearsed on PostgreSQL {major}, and this is {server_version // 10000}"
        return Proof(Verdict.FAIL, told, "REHEARSAL_STALE")
    return Proof(Verdict.PASS, f"rehearsed at {found.generated_at} on PostgreSQL {major}, pass")
