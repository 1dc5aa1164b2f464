"""The template of a postmortem, with the facts of the newest failed release of a sha filled in.

A resume or a second release of the sha writes the artifacts anew and keeps those before under their hash: what failed
is looked for among all of them, and where the machine that wrote them is gone, in the journal of the environment.
"""

from pathlib import Path
from typing import Any

import msgspec

from lockgate.config import Settings
from lockgate.errors import ConfigError
from lockgate.migrations.limits import Limits
from lockgate.postgres import releases
from lockgate.postgres.releases import ReleaseRow, StepRow
from lockgate.postgres.remains import lives, read_remains
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from lockgate.record.reasons import REASONS
from lockgate.release.calls import whole
from lockgate.release.incident import incident
from lockgate.release.look import connect_patiently

_ENDED_WELL = ("succeeded", "handed-off")
_DETAILS = "SELECT details::text FROM lockgate.release WHERE release_key = $1"
_RUN = "SELECT run_id FROM lockgate.run WHERE release_id = $1 ORDER BY started_at DESC LIMIT 1"


def kept(folder: Path, environment: str | None) -> list[dict[str, Any]]:
    """Every ``release.json`` of a sha that is still there, oldest first; of one environment where it is named. Raises ``ConfigError``."""
    found: list[dict[str, Any]] = []
    for path in folder.glob("release*.json"):
        try:
            content = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        except (OSError, msgspec.DecodeError) as error:
            told = "Move it away: the facts are in the journal of the environment, too."
            raise ConfigError(f"{path} cannot be read: {error}", next=told) from None
        if environment is None or content["environment"] == environment:
            found.append(content)
    return sorted(found, key=lambda content: str(content["generatedAt"]))


def newest_failed(documents: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The newest one that did not pass."""
    return next((one for one in reversed(documents) if one["status"] != "pass"), None)


def from_journal(target: Target, settings: Settings, sha: str) -> dict[str, Any] | None:
    """What the journal holds of the newest release of ``sha`` that did not end well, in the shape of ``release.json``."""
    wire = connect_patiently(target, "postmortem", Limits.of(settings.migrations), None)
    try:
        rows = releases.read_releases(wire, "sha = $1 AND environment = $2", sha, target.environment)
        row = next((r for r in rows if r.state not in _ENDED_WELL and not lives(wire, r)), None)
        return None if row is None else _document(wire, row, settings.of(target.environment))
    finally:
        wire.close()


def _document(wire: Wire, row: ReleaseRow, settings: Settings) -> dict[str, Any]:
    steps = releases.read_steps(wire, row.release_key)
    evidence = {step.name: step.evidence for step in steps}
    backup = evidence.get("backup", {})
    remains = read_remains(wire, row.release_key, map(str, evidence.get("candidate", {}).get("wanted", [])))
    details = msgspec.json.decode(wire.value(_DETAILS, row.release_key) or "{}", type=dict[str, Any])
    # An end writes its details; where a newer release took over, the row alone does not tell whether there was one.
    unended = not details or (bool(steps) and steps[-1].state == "running")
    died = row.state == "running" or (row.state == "superseded" and unended)
    runs = wire.one(_RUN, row.sha).rows
    reason, known = row.message, REASONS.get(row.reason_code)
    if died:
        reason = f"it died, for no end of it is written down; {_step_of(steps)}"
    told = (known.next if known else "") or "lockgate release resume"
    if died:
        # What an earlier attempt of it was told, before it was resumed, is not of this one.
        details, told = {}, "lockgate release resume" if row.state == "running" else ""
    n = settings.notify
    return {
        "generatedAt": remains.last if died else row.finished_at or remains.last,
        "died": died,
        "half": list(remains.half),
        "headSha": row.sha,
        "environment": row.environment,
        "releaseKey": row.release_key,
        "runId": (runs[0][0] or "") if runs else "",
        "planHash": row.plan_hash,
        "status": "hold" if row.state == "held" else "fail",
        "reasonCode": row.reason_code,
        "reason": reason,
        "state": details.get("state", ""),
        "next": details.get("next") or whole(told, row.environment, row.sha),
        "steps": [msgspec.to_builtins(step) for step in steps],
        "migrations": list(remains.applied),
        "backup": dict(backup) if "backupId" in backup else {},
        "approvals": list(evidence.get("approvals", {}).get("used", [])),
        "notes": list(details.get("notes", [])),
        "warnings": [],
        "timeline": _timeline(steps),
        "owners": list(n.owners),
        "pager": n.pager,
        "channel": n.channel,
    }


def _step_of(steps: list[StepRow]) -> str:
    if not steps:
        return "it had not begun its first step"
    last = steps[-1]
    return f"its last step, {last.name}, {'had begun' if last.state == 'running' else 'was ' + last.state}"


def _timeline(steps: list[StepRow]) -> list[dict[str, str]]:
    return [
        {
            "at": step.finished_at or step.started_at,
            "status": f"step {step.name}",
            "detail": f"{step.reason_code}: {step.message}"
            if step.reason_code
            else step.message or step.state,
        }
        for step in steps
        if step.state != "skipped"
    ]


def page(release: dict[str, Any], later: list[dict[str, Any]]) -> str:
    """The template of a postmortem with the facts of a failed ``release.json``; what only people know is asked for.

    ``later`` are the releases of the same sha after it: they tell how it went on.
    """
    facts = incident(release)
    failed = next((s for s in release["steps"] if s["name"] == facts["failedStep"]), None)
    died, changed = release.get("died", False), [*facts["durablyChanged"], *release.get("half", ())]
    approved = ", ".join(a["approver"] for a in release["approvals"])
    # Who approved is written down when that step ends; before it, nobody can say that nobody did.
    asked = any(s["name"] == "approvals" and s["state"] in ("done", "skipped") for s in release["steps"])
    call = [*release["owners"], *(one for one in (release["pager"], release["channel"]) if one)]
    lines = [
        f"# Postmortem: release {release['headSha'][:12]}" + (f" to {release['environment']}" if release["environment"] else ""), "",
        "Write it within 48 hours. It is about causes, not about people.", "",
        "## Facts", "",
        f"- Release: {release['releaseKey']}, run {release['runId'] or 'none'}, plan {release['planHash'][:12] or 'none'}",
        f"- {'Last sign of life' if died else 'Ended'}: {release['generatedAt']}",
        f"- Outcome: {' '.join(filter(None, (release['status'], release['reasonCode'])))}: {release['reason']}",
        *([f"- Failed step: {failed['name']}: {failed['message'] or 'it began and did not end'}"] if failed else []),
        *([f"- State of the world: {release['state']}"] if release["state"] else []),
        f"- Durably changed: {', '.join(changed) or 'nothing'}",
        f"- Traffic: {facts['traffic']}",
        f"- Workers: {facts['workers']}",
        f"- Backup: {facts['backupId'] or 'none'}",
        *([f"- Approved by: {approved or 'nobody was asked'}"] if approved or asked else []),
        f"- Owners: {', '.join(call) or 'TODO'}",
        f"- First word to others was due: {facts['nextUpdateDue']}",
        f"- Told to do next: {release['next'] or 'nothing'}",
        f"- Afterwards: {'; '.join(_told(one) for one in later) or 'no later release of this sha is known here'}",
    ]  # fmt: skip
    lines += [f"- {warning}" for warning in release["warnings"]]
    lines += ["", "## Timeline", ""]
    lines += [f"- {e['at']} {e['status']}: {e['detail']}" for e in release["timeline"]]
    lines += [
        "", "## Impact", "", "TODO: who noticed, how many requests or rows, from when until when.", "",
        "## Root cause", "", "TODO: one of: lock or time-out, file, drift, data, pipeline, platform, capacity, process. Then why.", "",
        "## What went well, what was luck", "", "TODO", "",
        "## The regression test", "",
        "TODO: the test that fails on the release before the fix and passes on the fix. Without it this page is not done.", "",
        "- [ ] test name:", "- [ ] fails before the fix (link to the run):", "- [ ] passes after the fix (link to the run):", "",
        "## Actions", "", "| what | who | until |", "| --- | --- | --- |", "| TODO | TODO | TODO |", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _told(release: dict[str, Any]) -> str:
    resumed = "resumed" if release.get("resumed") else "released again"
    return f"{resumed} at {release['generatedAt']}: {release['status']} {release['reasonCode']}".rstrip()
