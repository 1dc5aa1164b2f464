"""What a release writes down: release.json, verification.json, api-smoke.json, report.html, the incident; and its share of migration.json."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from lockgate.config import seconds
from lockgate.errors import LockgateError
from lockgate.migrations.progress import AppliedFile
from lockgate.postgres.target import Target
from lockgate.record.redact import redact
from lockgate.release import artifact
from lockgate.release.calls import whole_document
from lockgate.release.course import Course
from lockgate.release.outlook import HARMLESS, HELD
from lockgate.release.report import RunReport
from lockgate.release.verify import Check

STEP_FIELDS = (
    "number", "name", "state", "attempts", "limitSeconds", "startedAt", "finishedAt", "seconds", "reasonCode", "message", "evidence",
)  # fmt: skip


def told_step(told: dict[str, Any]) -> dict[str, Any]:
    """A step as the artifact tells it."""
    return {key: told[key] for key in STEP_FIELDS}


def fill_report(course: Course, report: RunReport, failure: LockgateError | None) -> None:
    """What the run itself did not come to say: the plan, the base and the identity of the server."""
    report.plan_hash = report.plan_hash or course.plan.hash
    report.before = report.before or course.plan.base
    report.after = report.after or report.before
    _earlier_attempts(course, report)
    if not report.database_identity and course.facts is not None:
        f = course.facts
        report.database_identity = {
            "target": str(course.target), "database": f.database, "systemIdentifier": f.system_identifier,
            "timeline": f.timeline, "serverVersion": str(f.version), "user": f.user,
        }  # fmt: skip
    if failure is not None and not report.pending:
        known = {f.revision for f in report.applied}
        report.pending = [r for r, _ in course.plan.pending if r not in known]
    if failure is not None:
        report.status = "hold" if failure.exit == 5 else "fail"
        report.reason_code, report.reason = failure.code, failure.message
    report.notes = [*report.notes, *(n for n in course.notes if n not in report.notes)]


def _earlier_attempts(course: Course, report: RunReport) -> None:
    """After a resume the record is of the whole release: the files that its earlier attempts applied, and the base of the first one."""
    candidate = course.prior.get("candidate")
    if candidate is None:
        return
    report.before = str(candidate.evidence.get("base", report.before))
    wanted = {str(revision) for revision in candidate.evidence.get("wanted", [])}
    wanted -= {f.revision for f in report.applied}
    # The history was read before this attempt applied anything.
    earlier = [
        AppliedFile(r.revision, r.name, r.state, r.duration_ms, note="applied before the resume")
        for r in course.history.rows
        if r.revision in wanted
    ]
    report.applied = [*earlier, *report.applied]


def of_course(course: Course) -> dict[str, Any]:
    """The fields of ``migration.json`` that the pipeline knows: images, approvals, backup, and the job on its platform."""
    fields: dict[str, Any] = {
        "warnings": warnings_of(course),
        "imageDigest": course.options.image,
        "rollbackDigest": course.options.rollback_image,
        "approvals": approvals_of(course),
        "backup": dict(backup_of(course)),
    }
    polled = course.polled
    if polled is not None:
        job = course.settings.job
        fields |= {
            "jobName": job.name,
            "executionName": polled.execution,
            "executionStatus": polled.word or polled.last.value,
            "timeoutSeconds": round(seconds(job.timeout)),
            "pollIntervalMs": round(seconds(job.poll_interval) * 1000),
            "logs": polled.logs,
            "logsSource": polled.logs_source,
        }
    return fields


_SHOUTED = ("GLASS BROKEN", "NO BACKUP", "NOT REHEARSED", HELD)


def warnings_of(course: Course) -> list[str]:
    """What every artifact shouts: broken glass, what was gone without, workers that stay stopped."""
    papers = course.papers.notes if course.papers is not None else ()
    found = [*course.notes, *papers]
    return list(dict.fromkeys(note for note in found if any(word in note for word in _SHOUTED)))


def approvals_of(course: Course) -> list[dict[str, Any]]:
    """The approvals that the permit rested on, else those that the step found."""
    if course.papers is not None and course.papers.approvals is not None:
        found: list[dict[str, Any]] = [msgspec.to_builtins(a) for a in course.papers.approvals.used]
        return found
    return list(course.evidence_of("approvals").get("used", []))


def backup_of(course: Course) -> dict[str, Any]:
    """The backup that the release rests on, as its step told it; or the one that the permit found."""
    told = course.evidence_of("backup")
    if "backupId" in told:
        return {key: told[key] for key in _BACKUP if key in told}
    row = (
        course.papers.backup.backup
        if course.papers is not None and course.papers.backup is not None
        else None
    )
    if row is None:
        return {}
    plain = msgspec.to_builtins(row)
    return {key: plain[key] for key in _BACKUP if key in plain}


_BACKUP = (
    "backupId", "provider", "lsn", "timeline", "systemIdentifier", "sizeBytes", "sha256", "location", "verifiedBy", "finishedAt", "restorePoint",
)  # fmt: skip


def pasteable(content: dict[str, Any], target: Target) -> dict[str, Any]:
    """``content`` with commands that can be pasted anywhere: for the environment, else with the database's address, its password left out.

    Who reads an artifact has neither the call nor its variables at hand. The embedded server is the project's own.
    """
    given = not target.environment and target.source in ("--database-url", "DATABASE_URL")
    whole = whole_document(content, target.environment, "", target.open if given else "")
    assert isinstance(whole, dict)
    return whole


def write_all(
    root: Path, course: Course, report: RunReport, failure: LockgateError | None, migration: dict[str, Any]
) -> None:
    """Write every artifact but ``migration.json``. Raises ``OSError``: then the release has failed."""
    sha = course.sha
    # What an earlier attempt left and this one did not make anew would contradict it: it stays under its hash.
    if course.checks or course.more_checks:
        artifact.write(root, sha, "verification.json", verification(course))
    else:
        artifact.retire(root, sha, "verification.json")
    if course.smoked is not None:
        from lockgate.release.smoke import document

        smoked = document(course.smoked, course.settings.smoke, sha)
        artifact.write(root, sha, "api-smoke.json", {**smoked, "warnings": warnings_of(course)})
    else:
        artifact.retire(root, sha, "api-smoke.json")
    content = release_document(course, report, failure, artifact.hash_of(root, sha, "release.json"))
    content = pasteable(content, course.target)
    artifact.write(root, sha, "release.json", content)
    if failure is not None and _reached(course):
        from lockgate.release.incident import incident

        artifact.write(root, sha, "incident.json", pasteable(incident(content), course.target))
    else:
        artifact.retire(root, sha, "incident.json")
    from lockgate.release.page import page

    artifact.write_text(root, sha, "report.html", page(content, migration, course.smoked is not None))
    _tell_ci(root, course, content)


def where_to_look(course: Course, artifact_path: Path) -> dict[str, str]:
    """What a failure adds for people: the files that tell all of it, and whom to call."""
    folder = artifact_path.parent
    files = [name for name in ("report.html", "incident.json") if (folder / name).is_file()]
    n = course.settings.notify
    told = {"read": ", ".join(f"{folder}/{name}" for name in files)}
    call = [*n.owners, *([n.pager] if n.pager else []), *([n.channel] if n.channel else [])]
    return told | ({"call": ", ".join(call)} if call else {})


def _reached(course: Course) -> bool:
    """Whether the release came so far that an incident file is worth it: something was paused, applied or rolled out."""
    return any(t["name"] not in HARMLESS for t in course.told)


def release_document(
    course: Course, report: RunReport, failure: LockgateError | None, previous: str
) -> dict[str, Any]:
    """The content of ``release.json``: the whole timeline and the decision."""
    now = _utc()
    status = "pass" if failure is None else ("hold" if failure.exit == 5 else "fail")
    steps = [told_step(t) for t in course.told]
    n = course.settings.notify
    return {
        "schemaVersion": "1",
        "generatedAt": now,
        "headSha": course.sha,
        "releaseKey": course.release_key,
        "environment": course.place,
        "protected": course.target.protected,
        "status": status,
        "handedOff": course.handed_off,
        "resumed": course.resumed,
        "reasonCode": "" if failure is None else failure.code,
        "reason": "" if failure is None else failure.message,
        "state": "" if failure is None else failure.state,
        "next": "" if failure is None else failure.next,
        "operator": course.operator,
        "elapsedSeconds": report.elapsed_seconds,
        "imageDigest": course.options.image,
        "rollbackDigest": course.options.rollback_image,
        "replayReason": course.options.replay_reason,
        "breakGlass": course.options.break_glass,
        "warnings": warnings_of(course),
        "impact": course.impact[0].word,
        "impactReason": course.impact[1],
        "planHash": report.plan_hash,
        "runId": report.run_id,
        "before": report.before,
        "after": report.after,
        "migrations": [f.revision for f in report.applied],
        "pending": list(report.pending),
        "databaseIdentity": report.database_identity,
        "approvals": approvals_of(course),
        "backup": dict(backup_of(course)),
        "moves": list(course.evidence_of("proof").get("moves") or []),
        "steps": steps,
        "timeline": sorted(
            [msgspec.to_builtins(e) for e in [*course.steps_log.events, *course.log.events]],
            key=lambda e: e["at"],
        ),
        "checklist": checklist(steps),
        "notes": list(course.notes),
        "owners": list(n.owners),
        "pager": n.pager,
        "channel": n.channel,
        "previousArtifactHash": previous,
    }


def verification(course: Course) -> dict[str, Any]:
    """The content of ``verification.json``."""
    every: list[Check] = [*course.checks, *course.more_checks]
    bad = [c for c in every if not c.passed]
    failing = [c for c in bad if str(c.answer) == "fail"]
    return {
        "schemaVersion": "1",
        "generatedAt": _utc(),
        "headSha": course.sha,
        "warnings": warnings_of(course),
        "status": "pass" if not bad else ("fail" if failing else "hold"),
        "checks": [
            {"id": c.id, "pass": c.passed, "answer": str(c.answer), "details": redact(c.details)}
            for c in every
        ],
    }


_CHECKLIST = {
    "candidate": "The candidate is pinned and not older than what is live",
    "approvals": "Enough people approved this plan",
    "backup": "A verified backup was taken before anything was applied",
    "pause": "Workers stopped before anything was applied",
    "migrate": "The migrations are applied, and the history says so",
    "verify": "History, indexes, schema and declared assertions hold",
    "rollout": "The new release is live",
    "smoke": "Health, refused and authorized calls answer rightly",
    "watch": "Measurements stayed within limits",
    "resume": "All workers run again",
}


def checklist(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The operator's checklist, item by item with its evidence. What was not configured is not ticked."""
    by_name = {s["name"]: s for s in steps}
    found = []
    for name, text in _CHECKLIST.items():
        step = by_name.get(name)
        state = step["state"] if step else "not reached"
        found.append(
            {
                "item": text,
                "done": state == "done",
                "state": state,
                "evidence": step["message"] if step else "",
            }
        )
    return found


def estimate(course: Course) -> float:
    """Seconds that the files of the plan estimate for themselves, together."""
    return float(sum(p.directives.estimate_seconds or 0 for p in course.pending_files()))


def short(text: str, most: int = 4000) -> str:
    """``text`` without secrets, cut."""
    return redact(text)[:most]


def _tell_ci(root: Path, course: Course, content: dict[str, Any]) -> None:
    """Step summary, annotation and pull-request comment, where the release runs in GitHub. None of them costs anybody the release."""
    from lockgate.release.summary import summary

    text = redact(summary(content, [*course.checks, *course.more_checks]))
    artifact.write_text(root, course.sha, "comment.md", text)
    if os.environ.get("GITHUB_TOKEN"):
        from lockgate.release.pull_request import comment

        told = comment(text, course.place, course.sha, merged=course.settings.release.comment_merged)
        if told.problem:
            sys.stderr.write(redact(f"lockgate: {told.problem}") + "\n")
        elif told.url:
            sys.stderr.write(f"lockgate: told at {told.url}\n")
    if content["reasonCode"] and os.environ.get("GITHUB_ACTIONS"):
        from lockgate.release.summary import annotation

        sys.stderr.write(redact(annotation(content)) + "\n")
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError:
        return


def _utc() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
