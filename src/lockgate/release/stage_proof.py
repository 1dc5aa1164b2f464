"""The proof: preflight of the server and of what the later steps need, policy, drift, CI, staging, rehearsal, the time of contract-phase files."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from lockgate.config import seconds
from lockgate.errors import Refused
from lockgate.postgres import releases
from lockgate.postgres.backups import read_backups
from lockgate.postgres.disk import read_disk, volume_of
from lockgate.postgres.pressure import read_pressure
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from lockgate.record.reasons import Exit
from lockgate.record.verdict import Verdict
from lockgate.record.words import agree, counted
from lockgate.release import proof
from lockgate.release.authorise import read_live_instances
from lockgate.release.budget import Budget
from lockgate.release.contract_judge import Cutover, judge_contract
from lockgate.release.course import Course
from lockgate.release.disk_judge import room_for_backup, room_on_server
from lockgate.release.look import connect_patiently
from lockgate.release.moving import under_way
from lockgate.release.smoke import refuse_unready
from lockgate.release.standing import refuse_lacks
from lockgate.release.steps import Ended, done, skipped
from lockgate.release.workers import provider_of

STABLE = 86_400.0
"""Seconds that a release has to be live before a contract-phase file follows in a protected environment, unless it says otherwise."""


def prove(course: Course, budget: Budget) -> Ended:
    """Preflight, drift, policy, CI, staging, rehearsal: what has to be so before anything is touched."""
    if course.again:
        return skipped("nothing changes")
    told: dict[str, Any] = {}
    release = course.settings.release
    told["smoke"] = refuse_unready(course.settings.smoke)
    told["ciResults"] = proof.read_ci_results(release.ci_results, course.root, course.sha)
    if course.plan.obstacles:
        return done(
            "the plan has obstacles; the migration will name them", obstacles=len(course.plan.obstacles)
        )
    wire = course.connect()
    try:
        pressure = read_pressure(wire)
        proof.refuse_no_room(pressure, release.min_free_connections)
        told["pressure"] = msgspec.to_builtins(pressure)
        if course.plan.pending and course.history.rows:
            told["drift"] = proof.refuse_drift(wire)
        if course.plan.pending:
            told["privileges"] = _privileges(course, wire)
            told["moves"] = [
                {"name": move.name, "stage": move.stage} for move in under_way(wire) if not move.elsewhere
            ]
            told["disk"] = _disk(course, wire)
            told["contract"] = _contract(course, wire)
    finally:
        wire.close()
    if course.plan.pending:
        told["policy"] = _policy(course)
        _keep_rehearsal(course)
        if release.rehearsal:
            assert course.facts is not None
            told["rehearsal"] = proof.refuse_not_rehearsed(
                course.settings, course.plan.hash, datetime.now(UTC), course.facts.version, course.place
            )
        if course.environment is not None and course.environment.same_plan_on:
            told["staged"] = _staged(course, course.environment.same_plan_on)
    told["workers"] = _reachable_workers(course, budget)
    watch = course.settings.watch
    if watch.prometheus_url and watch.queries and course.watch_window() > 0:
        from lockgate.release.watch import baseline_of

        before = course.evidence_of("proof")
        if before.get("baseline"):
            told["baseline"], told["baselineOver"] = before["baseline"], before.get("baselineOver", {})
        else:
            taken = baseline_of(watch, _utc, budget)
            told["baseline"] = {name: one.value for name, one in taken.items()}
            told["baselineOver"] = {
                name: {"values": one.values, "seconds": one.seconds} for name, one in taken.items()
            }
    return done(f"{counted(pressure.free, 'connection')} free; {told['workers']}", **told)


def _privileges(course: Course, wire: Wire) -> str:
    """The role can run the files, and their extensions are there: found before anybody is paused. ``PRIVILEGE``, ``EXTENSION_MISSING``."""
    if course.settings.job.provider == "command":
        return "the job has a role of its own: it asks for itself"
    assert course.facts is not None
    refuse_lacks(wire, course.facts.user, course.plan, course.prepared, course.settings.roles)
    return f"{course.facts.user} can run the files, as far as the catalogue tells"


def _disk(course: Course, wire: Wire) -> list[str]:
    """Room for the backup and on the server, where either can be told. ``DISK_SPACE``."""
    assert course.facts is not None
    own, provider = course.settings, course.settings.backup.provider
    folder = own.path(own.backup.directory)
    before = [b for b in read_backups(wire) if b.provider == provider and b.state == "verified"]
    disk = read_disk(wire, course.facts.system_identifier)
    last = max(before, key=lambda b: b.finished_at).size_bytes if before else None
    rooms = {
        "backup": room_for_backup(provider, disk, volume_of(folder), last),
        "server": room_on_server(disk, own.release.min_free_disk_percent),
    }
    short = [f"{name}: {room.told}" for name, room in rooms.items() if room.answer is Verdict.FAIL]
    if short:
        raise Refused("; ".join(short), "DISK_SPACE", details={"disk": msgspec.to_builtins(disk)})
    return [f"{name}: {room.told}" for name, room in rooms.items()]


def _contract(course: Course, wire: Wire) -> str:
    """Contract-phase files have their time, by the journal, the server's clock and the heartbeats. ``CONTRACT_TOO_EARLY``."""
    revisions = [p.revision for p in course.pending_files() if p.directives.phase == "contract"]
    after = course.settings.release.contract_after
    stable = seconds(after) if after else (STABLE if course.target.protected else 0.0)
    timing = judge_contract(
        revisions,
        fresh=not course.history.rows,
        cutover=_cutover(course, wire) if revisions else Cutover(),
        stable=stable,
        instances=read_live_instances(wire) if revisions and course.history.rows else (),
    )
    if timing.answer is Verdict.PASS:
        return timing.told
    if timing.waits and course.options.break_glass:
        course.notes.append(
            f"GLASS BROKEN over CONTRACT_TOO_EARLY: {course.options.break_glass}; {timing.told}"
        )
        return f"GLASS BROKEN: {timing.told}"
    raise Refused(
        timing.told,
        "CONTRACT_TOO_EARLY",
        state="Nothing was changed.",
        next="Wait until that is over, then lockgate release resume" + ("; or break the glass: lockgate release --break-glass REASON" if timing.waits else ""),
    )  # fmt: skip


def _cutover(course: Course, wire: Wire) -> Cutover:
    """The releases of this environment before this one, newest first."""
    before = [
        r for r in releases.read_releases(wire) if r.environment == course.place and r.release_key != course.release_key
    ]  # fmt: skip
    newest = next((r for r in before if r.state == "succeeded"), None)
    open_ = [r for r in before if r.state != "succeeded" and (newest is None or r.sequence > newest.sequence)]
    begun = next(
        (r for r in open_ if any(s.name == "rollout" for s in releases.read_steps(wire, r.release_key))), None
    )
    return Cutover(
        newest.sha if newest else "",
        releases.seconds_since(wire, newest.release_key) if newest else None,
        f"the rollout of {begun.sha[:12]} began and the release is {begun.state}" if begun else "",
    )


def _keep_rehearsal(course: Course) -> None:
    """Put the rehearsal of this plan, where there is one, beside the artifacts of the release that rests on it."""
    from lockgate.rehearsal.artifact import path_of
    from lockgate.release.artifact import write_text

    path = path_of(course.settings, course.plan.hash)
    if path.is_file():
        root = course.settings.path(course.settings.artifacts.directory)
        write_text(root, course.sha, path.name, path.read_text("utf-8"))


def _policy(course: Course) -> str:
    from lockgate.release.authorise import refuse_findings
    from lockgate.release.judging import judge_pending

    assert course.facts is not None
    judged = judge_pending(
        course.files.migrations,
        frozenset(revision for revision, _ in course.plan.pending),
        course.settings,
        server=course.facts.version // 10000,
        configured=bool(course.place),
        fresh=not course.plan.base,
        today=datetime.now(UTC).date(),
        begun=frozenset(course.history.partial),
    )
    refuse_findings(course.plan, judged)
    return f"profile {judged.profile}: nothing blocks, {judged.warnings} warnings"


def _staged(course: Course, name: str) -> str:
    import os

    from lockgate.errors import ConfigError

    variable = course.settings.env[name].url_env
    url = os.environ.get(variable, "")
    if not url:
        raise ConfigError(
            f"environment {name}: {variable} is not set, and this plan has to have passed there"
        )
    wire = connect_patiently(
        Target(url, source=f"--env {name}", environment=name), "staged", course.limits, course.alarm
    )
    try:
        return proof.refuse_not_staged(wire, course.plan.hash, name)
    finally:
        wire.close()


def _reachable_workers(course: Course, budget: Budget) -> str:
    """Paused workers have to be counted, so they are counted once before: a status command that fails is found now."""
    provider = provider_of(course.settings.workers, course.root, course.connect)
    if provider is None or course.unchanged:
        return "no workers to pause"
    before = provider.before(budget)
    running = provider.running(budget, before)
    if running is None:
        raise Refused(
            "workers.status cannot tell how many workers run, so nothing would show that they stopped",
            "COMMAND_FAILED",
            state="Nothing was changed.",
            next="Mend [workers] status, then lockgate release again",
            exit=Exit.REFUSED,
        )
    return f"{counted(running, 'worker')} {agree(running, 'runs', 'run')}"


def _utc() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
