"""The steps before the migration: window, candidate, approvals, backup, pause. The proof stands in ``stage_proof``."""

import msgspec

from lockgate.config import seconds
from lockgate.errors import Refused
from lockgate.migrations.history import History
from lockgate.postgres import releases
from lockgate.postgres.approvals import read_now
from lockgate.postgres.backups import read_backups
from lockgate.postgres.releases import read_releases
from lockgate.record.points import point
from lockgate.record.verdict import Verdict
from lockgate.record.words import agree, counted
from lockgate.release import candidate
from lockgate.release.approve import decide, moment
from lockgate.release.backup_judge import BackupDecision, judge_backup
from lockgate.release.backups import Backups, wanted_of
from lockgate.release.budget import Budget
from lockgate.release.course import Course
from lockgate.release.papers import Papers, look_for_rehearsal, refuse_papers
from lockgate.release.steps import Ended, done, skipped
from lockgate.release.windows import judge_time
from lockgate.release.workers import provider_of, wait_until_stopped


def window(course: Course, budget: Budget) -> Ended:
    """Is now a time to release? The lease is held already; a freeze or a closed window refuses."""
    lease = f"lease token {course.lease.token}" if course.lease else "no lease"
    environment = course.environment
    if environment is None or not (environment.windows or environment.freezes):
        return done(
            f"{lease}; no window and no freeze is declared", token=course.lease.token if course.lease else 0
        )
    wire = course.connect()
    try:
        now = moment(read_now(wire))
    finally:
        wire.close()
    admission = judge_time(
        environment.windows, environment.freezes, environment.window_impact, course.impact[0], now
    )
    told = {"now": now.isoformat(), "impact": course.impact[0].word, "windows": list(environment.windows)}
    if admission.answer is Verdict.PASS:
        return done(f"{lease}; open for {course.impact[0].word} impact", **told)
    migrated = course.prior.get("migrate")
    if migrated is not None and migrated.state == "done":
        course.notes.append(
            f"{admission.code} while resuming: {admission.message}; what is begun is finished"
        )
        return done(f"{lease}; {admission.code}, but the migration is done", **told)
    if course.options.break_glass:
        course.notes.append(f"GLASS BROKEN over {admission.code}: {course.options.break_glass}")
        return done(f"{lease}; GLASS BROKEN over {admission.code}", **told)
    raise Refused(admission.message, admission.code, details=told)


def judge_candidate(course: Course, budget: Budget) -> Ended:
    """Images by digest, a sha that is not older than what is live, windows that fit."""
    options = course.options
    candidate.check_images(options, course.settings.release.images)
    wire = course.connect()
    try:
        known = read_releases(wire)
    finally:
        wire.close()
    ask = candidate.git_ancestor(course.root)
    standing = candidate.standing_of(course.sha, course.place, known, ask)
    if standing.stale and not options.replay_reason:
        raise Refused(standing.stale, "CANDIDATE_STALE")
    if options.replay_reason and not any(
        r.sha == course.sha and r.state == "succeeded" and r.environment == course.place for r in known
    ):
        raise Refused(f"{course.sha[:12]} never succeeded here, so it is not known to be good", "NO_RELEASE")
    newest = next((r for r in known if r.state == "succeeded" and r.environment == course.place), None)
    if standing.again and course.unchanged and newest is not None:
        same_image = not options.image or newest.image_digest == options.image
        if same_image and not options.replay_reason:
            course.again = newest.release_key
    if candidate.git_knows(course.root, course.sha) is False:
        course.notes.append(
            f"git here has no commit {course.sha[:12]}: is it the one that was built? What succeeds last is what is live; a sha released before it goes out again by lockgate release replay alone"
        )
    elif standing.note:
        course.notes.append(standing.note)
    fits = _fit_windows(course)
    if not options.migrations and course.plan.pending:
        raise Refused(
            f"--no-migrations, and {counted(len(course.plan.pending), 'file')} {agree(len(course.plan.pending), 'is', 'are')} pending, the first one {course.plan.pending[0][0]}",
            "MIGRATIONS_REQUIRED",
        )
    if course.lease is not None:
        token, key, plan = course.lease.token, course.release_key, course.plan
        course.lease.write(
            lambda w: releases.note_release(
                w, token, key, image_digest=options.image, rollback_digest=options.rollback_image,
                plan_hash=plan.hash, base=_base(course), goal=plan.goal,
            )
        )  # fmt: skip
    told = f"plan {course.plan.hash[:12]}: {counted(len(course.plan.pending), 'file')}, impact {course.impact[0].word}"
    if course.again:
        told = f"{course.sha[:12]} is live since release {course.again} and nothing is pending: this release changes nothing"
    return done(
        told,
        impact=course.impact[0].word,
        why=course.impact[1],
        planHash=course.plan.hash,
        windows=fits,
        wanted=_wanted(course),
        base=_base(course),
    )


def _wanted(course: Course) -> list[str]:
    """The revisions that this release is to bring: a resume finds fewer pending, and still answers for all of them."""
    before = course.prior.get("candidate")
    kept = [str(r) for r in before.evidence.get("wanted", [])] if before is not None else []
    return sorted({*kept, *(revision for revision, _ in course.plan.pending)})


def _base(course: Course) -> str:
    """The newest revision before the release: that of its first attempt, whatever a resume finds."""
    before = course.prior.get("candidate")
    kept = before.evidence.get("base") if before is not None else None
    return course.plan.base if kept is None else str(kept)


def _fit_windows(course: Course) -> list[str]:
    options, told = course.options, []
    goal, floor = course.plan.goal, _floor_after(course, course.history)
    for name, path, code in (
        ("the candidate", options.contract, "CANDIDATE_INCOMPATIBLE"),
        ("the rollback image", options.rollback_contract, "ROLLBACK_IMAGE_INCOMPATIBLE"),
    ):
        if not path:
            continue
        seen = candidate.read_window(course.root / path)
        wrong = candidate.fit(seen, goal, floor, name)
        if wrong:
            raise Refused(
                wrong, code, details={"window": msgspec.to_builtins(seen), "goal": goal, "floor": floor}
            )
        told.append(f"{name} serves {seen.least or 'any'} to {seen.most}")
    return told


def _floor_after(course: Course, history: History) -> str:
    contract = [p.revision for p in course.pending_files() if p.directives.phase == "contract"]
    return max([history.compat_floor, *contract])


def approvals(course: Course, budget: Budget) -> Ended:
    """Enough people have approved this very plan. The permit asks again, right before it is applied."""
    if not course.target.protected:
        return skipped("the target is not protected")
    if course.unchanged:
        return skipped("nothing to apply")
    wire = course.connect()
    try:
        decision = decide(
            wire, course.plan, course.pending_files(), course.settings, course.target, course.operator, course.options.break_glass
        )  # fmt: skip
        rehearsal, notes = (
            look_for_rehearsal(
                wire,
                course.plan,
                course.settings,
                course.target,
                course.facts,
                broken=bool(decision.break_glass),
            )
            if decision is not None and course.facts is not None
            else (None, ())
        )
    finally:
        wire.close()
    told = refuse_papers(course.plan, course.target, Papers(decision, rehearsal=rehearsal, notes=notes))
    assert decision is not None
    if decision.break_glass:
        course.notes.append(
            f"GLASS BROKEN: {decision.break_glass}, seconded by {decision.used[0].approver}: {decision.used[0].reason}"
        )
    return done(
        "; ".join(told),
        used=[msgspec.to_builtins(a) for a in decision.used],
        breakGlass=decision.break_glass,
        rehearsal="" if rehearsal is None else rehearsal.details,
    )


def backup(course: Course, budget: Budget) -> Ended:
    """A backup of this server, verified and young enough: the one that is there, else a new one."""
    if course.unchanged:
        return skipped("nothing to apply")
    provider = course.settings.backup.provider
    wanted = course.target.protected and course.environment is not None and course.environment.require_backup
    if not provider and not wanted:
        return skipped("no [backup] provider is configured")
    backups = Backups(course.target, course.settings, course.limits, course.alarm)
    assert course.facts is not None
    if not provider or course.prior.get("backup"):
        wire = course.connect()
        try:
            found = judge_backup(read_backups(wire), wanted_of(course.facts, course.settings))
        finally:
            wire.close()
        if found.backup is not None and not backups.wrong(found.backup, whole=False):
            course.backup = found.backup
            return _backed(course, "is there")
        if not provider:
            if found.backup is not None:
                found = BackupDecision(
                    Verdict.FAIL, "BACKUP_UNVERIFIED", backups.wrong(found.backup, whole=False)
                )
            raise Refused(found.message, found.code)
    row = backups.take(release_key=course.release_key)
    point("backup:stepped")
    if row.state != "verified":
        raise Refused(f"backup {row.backup_id} is {row.state}: {row.message}", "BACKUP_UNVERIFIED")
    course.backup = row
    if seconds(course.settings.backup.drill_max_age):
        wire = course.connect()
        try:
            found = judge_backup(read_backups(wire), wanted_of(course.facts, course.settings))
        finally:
            wire.close()
        if found.backup is None:
            raise Refused(found.message, found.code, next=f"lockgate backup drill {row.backup_id}")
    return _backed(course, "taken")


def _backed(course: Course, verb: str) -> Ended:
    row = course.backup
    assert row is not None
    return done(
        f"{row.provider} {row.backup_id} {verb}: LSN {row.lsn}, {row.size_bytes} bytes, verified by {row.verified_by}",
        backupId=row.backup_id, provider=row.provider, lsn=row.lsn, timeline=row.timeline, systemIdentifier=row.system_identifier,
        sizeBytes=row.size_bytes, sha256=row.sha256, location=row.location, verifiedBy=row.verified_by, finishedAt=row.finished_at,
        restorePoint=str(row.detail.get("restorePoint", "")),
    )  # fmt: skip


def pause(course: Course, budget: Budget) -> Ended:
    """The workers stop, and are shown to have stopped. That they are paused is written before they are."""
    workers = course.settings.workers
    provider = provider_of(workers, course.root, course.connect)
    if provider is None:
        return skipped("no [workers] are configured")
    if course.unchanged:
        return skipped("nothing to apply")
    assert course.lease is not None
    lease, key = course.lease, course.release_key
    before = provider.before(budget)
    held_for = seconds(workers.lease)
    lease.write(
        lambda w: releases.begin_pause(
            w, lease.token, key, workers.provider or workers.preset, course.operator, f"release {course.sha[:12]}", held_for, {"before": before}
        )
    )  # fmt: skip
    point("release:pause:written")
    known = lease.write(releases.read_pause)
    before = str(known.detail.get("before", before)) if known is not None else before
    provider.pause(budget, before)
    point("release:pause:asked")
    patience = Budget("pause", min(seconds(workers.timeout), budget.left), course.alarm, budget.clock)
    looks = wait_until_stopped(provider, workers, patience, before)
    lease.write(lambda w: releases.set_pause(w, lease.token, "paused"))
    return done(
        f"workers stopped: the count is 0 after {counted(looks, 'look')}",
        before=before,
        looks=looks,
        leaseSeconds=held_for,
    )
