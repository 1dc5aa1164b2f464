"""Has this very plan been rehearsed, did it pass, and is that fresh? What ``up`` asks before a protected environment."""

import shlex
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import msgspec

from lockgate.config import Settings
from lockgate.record.verdict import Verdict
from lockgate.rehearsal.artifact import path_of
from lockgate.rehearsal.report import Rehearsal
from lockgate.rehearsal.verdict import Check, held

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
    # The releases whose queries it asked, or has to ask.
    releases: tuple[str, ...] = ()

    def next(self, environment: str = "") -> str:
        """What to type: the rehearsal on top of what is applied, and where the same one would hold again, what is to be different."""
        place = f" --env {shlex.quote(environment)}" if environment else ""
        asked = "".join(f" --queries {shlex.quote(name)}=FILE" for name in self.releases)
        call = f"lockgate status{place} --format json > status.json; lockgate rehearse --from-status status.json{asked}"
        if self.cause == "DATA_DEPENDENT":
            return f"Count in production the rows that the file would refuse; where there are none, rehearse without made-up rows: {call} --rows 0"
        if self.reason_code == "REHEARSAL_HELD":
            return f"Mend what checks[] in rehearsal.json names; what depends on the rows of production is shown by lockgate snapshot: {call} --snapshot snapshot.json"
        if self.reason_code == "REHEARSAL_FAILED":
            return f"Mend what checks[] in rehearsal.json names, then {call}"
        return call


class _Rows(msgspec.Struct, frozen=True):
    rows: dict[str, int] = {}


class _Asked(msgspec.Struct):
    queries: list[msgspec.Raw] = []


class _Rehearsed(msgspec.Struct, rename="camel"):
    plan_hash: str
    verdict: str
    generated_at: str
    server: dict[str, int | str]
    reason_code: str = ""
    compatibility: dict[str, _Asked] = {}
    rows: _Rows = _Rows()


def fresh(
    settings: Settings,
    plan_hash: str,
    *,
    now: datetime,
    server_version: int = 0,
    max_age: timedelta = MAX_AGE,
    releases: Iterable[str] = (),
) -> Proof:
    """Read ``rehearsal.json`` of ``plan_hash`` and judge it; see ``judge``. Changes nothing, asks no database."""
    path = path_of(settings, plan_hash)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        data = None
    except OSError as error:
        return Proof(Verdict.HOLD, f"{path} cannot be read: {error.strerror}", "REHEARSAL_MISSING")
    return judge(data, plan_hash, now=now, server_version=server_version, max_age=max_age, releases=releases)


def judge(
    data: bytes | None,
    plan_hash: str,
    *,
    now: datetime,
    server_version: int = 0,
    max_age: timedelta = MAX_AGE,
    releases: Iterable[str] = (),
) -> Proof:
    """Whether ``data`` (None: there is no file) proves ``plan_hash``. Pure.

    ``server_version`` is production's server_version_num; where it is given, a rehearsal on another major version does
    not count; nor does one that did not ask the queries of each of ``releases``. Only pass opens: what is missing, old,
    unreadable or of another plan does not.
    """
    wanted = tuple(releases)
    if data is None:
        told = f"there is no rehearsal of the plan {plan_hash[:12]}"
        return Proof(Verdict.FAIL, told, "REHEARSAL_MISSING", releases=wanted)
    try:
        found = msgspec.json.decode(data, type=_Rehearsed)
        at = datetime.fromisoformat(found.generated_at)
    except (msgspec.DecodeError, ValueError) as error:
        return Proof(Verdict.HOLD, f"rehearsal.json cannot be read: {error}", "REHEARSAL_MISSING")
    asked = tuple(dict.fromkeys([*found.compatibility, *wanted]))
    if found.plan_hash != plan_hash:
        told = f"the rehearsal is of the plan {found.plan_hash[:12]}, not of {plan_hash[:12]}"
        return Proof(Verdict.FAIL, told, "REHEARSAL_MISSING", releases=wanted)
    if found.verdict != Verdict.PASS:
        held = found.verdict == Verdict.HOLD
        return Proof(
            Verdict.HOLD if held else Verdict.FAIL,
            f"the rehearsal of {found.generated_at} did not pass: {found.reason_code or found.verdict}",
            "REHEARSAL_HELD" if held else "REHEARSAL_FAILED",
            found.reason_code,
            asked,
        )
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    if now - at > max_age or at - now > timedelta(hours=1):
        told = f"the rehearsal of {found.generated_at} is older than {max_age.days} days, or not of this time"
        return Proof(Verdict.FAIL, told, "REHEARSAL_STALE", releases=asked)
    major = int(found.server.get("version", 0)) // 10000
    if server_version and major != server_version // 10000:
        told = f"it was rehearsed on PostgreSQL {major}, and this is {server_version // 10000}"
        return Proof(Verdict.FAIL, told, "REHEARSAL_STALE", releases=asked)
    lacking = [name for name in wanted if name not in found.compatibility]
    if lacking:
        told = f"the rehearsal of {found.generated_at} did not ask the queries of {', '.join(lacking)}"
        return Proof(Verdict.FAIL, told, "REHEARSAL_MISSING", releases=asked)
    queries = f"the queries of {', '.join(asked)} asked" if asked else "NO RELEASE'S QUERIES ASKED"
    return Proof(
        Verdict.PASS,
        f"rehearsed at {found.generated_at} on PostgreSQL {major}, pass, {queries}",
        releases=asked,
    )


def less_than_before(settings: Settings, rehearsal: Rehearsal) -> Check | None:
    """Why ``rehearsal`` may not take the place of an earlier one of its plan that did not pass: it proves less.

    A rehearsal that leaves out the queries that broke, or the rows that they ran on, would open what the other closed.
    """
    path = path_of(settings, rehearsal.plan_hash)
    try:
        before = msgspec.json.decode(path.read_bytes(), type=_Rehearsed)
    except (OSError, msgspec.DecodeError):
        return None
    if before.plan_hash != rehearsal.plan_hash or before.verdict == Verdict.PASS:
        return None
    lacking = []
    for name, asked in before.compatibility.items():
        now = rehearsal.compatibility.get(name)
        if now is None:
            lacking.append(f"the queries of {name}")
        elif len(now.queries) < len(asked.queries):
            lacking.append(f"{len(asked.queries)} queries of {name} in place of {len(now.queries)}")
    # Rows that the file would refuse are left out on purpose, once they were counted in production.
    if before.reason_code != "DATA_DEPENDENT":
        filled = {table for table, count in rehearsal.rows.rows.items() if count}
        emptied = sorted(table for table, count in before.rows.rows.items() if count and table not in filled)
        if emptied:
            lacking.append(f"rows in {', '.join(emptied[:3])}{' and more' if len(emptied) > 3 else ''}")
    if not lacking:
        return None
    queries = "".join(f" --queries {shlex.quote(name)}=FILE" for name in before.compatibility)
    told = (
        f"the rehearsal of {before.generated_at} did not pass ({before.reason_code or before.verdict}) and had {', '.join(lacking)}, which this"
        f" one has not: it stays. Rehearse with{queries or ' --rows 20'}; where that is not to be proven any more, delete {path} first"
    )
    return held("as-much-as-before", told)
