"""``lockgate status``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from lockgate.cli.options import Session, leave, shared
from lockgate.record.reasons import Exit

if TYPE_CHECKING:
    from lockgate.migrations.plan import Plan
    from lockgate.release.held import Held

_RELEASE = ("releaseKey", "sha", "state", "reasonCode", "operator", "startedAt", "finishedAt")
"""What is told of the newest release."""


def _state(revision: str, journals: Mapping[str, Any], held: "Held | None") -> str:
    if held is not None and revision == held.revision:
        return f"waits for the move {held.move}"
    return "half done" if revision in journals else "pending"


def _next(plan: "Plan", held: "Held | None") -> str:
    """``up`` while something stands before the file that waits; then what that file waits for."""
    return held.next if held is not None and plan.pending[0][0] == held.revision else "lockgate up"


@click.command("status")
@shared()
@click.option("--check", is_flag=True, help="Exit 1 when anything is pending or in the way.")
@click.option("--steps", is_flag=True, help="Show the journal of half-done non-transactional files.")
@click.option(
    "--all", "everything", is_flag=True, help="List every applied revision, not only the newest ten."
)
def command(check: bool, steps: bool, everything: bool, **shared_options: Any) -> None:
    """What is applied, what is pending, and what is in the way. Takes no lock and changes nothing."""
    import msgspec

    from lockgate.migrations.limits import Limits
    from lockgate.migrations.plan import resolve
    from lockgate.release.held import first_held
    from lockgate.release.look import look, read_journals
    from lockgate.release.project import read_files
    from lockgate.release.situation import newest_release

    session = Session(**shared_options)
    output = session.output
    files = read_files(session.settings)
    target = session.target()
    looked = look(target, Limits.of(session.settings.migrations))
    plan = resolve(files.migrations, looked.history)
    names = {m.revision: m.name for m in files.migrations}
    journals = (
        read_journals(target, looked, Limits.of(session.settings.migrations))
        if steps or looked.history.partial
        else {}
    )
    release, died = (
        newest_release(target, Limits.of(session.settings.migrations)) if looked.facts.home else (None, "")
    )
    held = first_held(target, looked, plan, files, session.settings)
    clean = not plan.pending and not plan.obstacles and not files.problems and not looked.history.partial
    output.json(
        {
            "command": "status", "target": str(target), "clean": clean, "planHash": plan.hash, "revision": plan.base, "compatFloor": looked.history.compat_floor,
            "applied": [msgspec.to_builtins(row) for row in looked.history.rows], "pending": [{"revision": r, "name": names.get(r, "")} for r, _ in plan.pending],
            "partial": {revision: [msgspec.to_builtins(s) for s in rows] for revision, rows in journals.items()},
            "release": {k: v for k, v in msgspec.to_builtins(release).items() if k in _RELEASE} | {"died": died} if release is not None else None,
            "held": msgspec.to_builtins(held), "obstacles": [msgspec.to_builtins(o) for o in plan.obstacles], "findings": [msgspec.to_builtins(p) for p in files.problems],
        }
    )  # fmt: skip
    output.say(f"target    {target}")
    none = "none: nothing is applied yet" if looked.facts.home else "none: lockgate was never run here"
    output.say(f"revision  {plan.base or none}")
    if release is not None:
        code = f" {release.reason_code}" if release.reason_code else ""
        when = release.finished_at or f"since {release.started_at}"
        state = f"died, last sign of life {died}" if died else f"{release.state}{code}, {when}"
        output.say(f"release   {release.sha[:12]} {state}, by {release.operator}")
    rows = looked.history.rows if everything else looked.history.rows[-10:]
    table = [
        (
            row.revision,
            row.name,
            output.mark(row.state, "good"),
            row.applied_at[:19],
            f"{row.duration_ms} ms",
            row.operator,
        )
        for row in rows
    ]
    table += [
        (r, names.get(r, ""), output.mark(_state(r, journals, held), "warn"), "", "", "")
        for r, _ in plan.pending
    ]
    if table:
        output.table(("revision", "name", "state", "applied at", "took", "by"), table)
    if len(rows) < len(looked.history.rows):
        output.say(f"and {len(looked.history.rows) - len(rows)} older ones; --all shows them")
    for revision, journal in journals.items():
        output.say(f"\n{revision} stopped half way:")
        output.table(
            ("step", "state", "attempts", "statement"),
            [(str(s.number), s.state, str(s.attempts), " ".join(s.statement.split())[:90]) for s in journal],
        )
    if held is not None:
        output.say(f"{output.mark('MOVE_WAITED_FOR', 'warn')}: {held.because}")
    for obstacle in plan.obstacles:
        output.say(f"{output.mark(obstacle.code, 'bad')}: {obstacle.message}")
    for item in files.problems[:20]:
        output.say(f"{output.mark(item.id, 'bad')}: {item.file}: {item.message}")
    resume = f"lockgate release resume {release.sha}" if release is not None else ""
    output.say(
        f"{len(looked.history.rows)} applied, {len(plan.pending)} pending"
        + (f"; next: {resume}" if died else "" if clean or plan.obstacles else f"; next: {_next(plan, held)}")
    )
    if check and plan.pending:
        from lockgate.record.reasons import reason

        row = reason("PENDING")
        output.note(f"lockgate: {row.code}: {row.meaning} next: {row.next}")
    leave(Exit.FOUND if check and not clean else Exit.OK)
