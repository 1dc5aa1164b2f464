"""``lockgate plan``."""

from typing import Any

import click

from lockgate.cli.options import Session, leave, shared
from lockgate.record.reasons import Exit


@click.command("plan")
@shared()
def command(**shared_options: Any) -> None:
    """What `up` would do, with the plan hash. Changes nothing; exits 4 when `up` would stop before its end.

    That is so when the history is in the way, the policy refuses a pending file, or a file is held by a move or by live
    instances. Approvals, backup and rehearsal are not asked for: they are given to a plan.
    """
    from datetime import UTC, datetime

    import msgspec

    from lockgate.migrations.limits import Limits
    from lockgate.migrations.plan import Obstacle, resolve
    from lockgate.release.authorise import blocking
    from lockgate.release.held import first_held, first_too_early
    from lockgate.release.look import look
    from lockgate.release.project import prepare_files, read_files, refuse_problems
    from lockgate.release.vetting import Vetting

    session = Session(**shared_options)
    output = session.output
    files = read_files(session.settings)
    refuse_problems(files.problems)
    target = session.target()
    looked = look(target, Limits.of(session.settings.migrations))
    plan = resolve(files.migrations, looked.history)
    wanted = {revision for revision, _ in plan.pending}
    prepared, problems = prepare_files(
        tuple(m for m in files.migrations if m.revision in wanted), session.settings
    )
    refuse_problems(problems)
    steps: list[dict[str, Any]] = [
        {
            "revision": p.revision, "name": p.migration.name, "file": p.migration.file, "checksum": p.migration.checksum, "phase": p.directives.phase,
            "transactional": p.directives.transaction, "statements": [{"line": s.line, "kind": s.kind} for s in p.statements],
        }
        for p in (prepared[revision] for revision, _ in plan.pending)
    ]  # fmt: skip
    vetting = Vetting(files, session.settings, target, datetime.now(UTC).date(), lambda _: None)
    judged = vetting.judge(plan, looked.history, looked.facts) if plan.pending else None
    refused = blocking(plan, judged) if judged is not None else []
    obstacles = [*plan.obstacles]
    obstacles += [
        Obstacle("POLICY_REFUSED", f.file[:13], f"{f.file}:{f.line}: {f.id}: {f.message}; fix: {f.fix}")
        for f in refused
    ]
    waits = first_held(target, looked, plan, files, session.settings)
    early, because = first_too_early(target, looked, plan, prepared, Limits.of(session.settings.migrations))
    held = [] if waits is None else [Obstacle("MOVE_WAITED_FOR", waits.revision, f"{waits.because}; next: {waits.next}")]  # fmt: skip
    held += [Obstacle("CONTRACT_TOO_EARLY", early, because)] if early else []
    output.json(
        {
            "command": "plan",
            "planHash": plan.hash,
            "base": plan.base,
            "goal": plan.goal,
            "applied": len(plan.applied),
            "pending": steps,
            "obstacles": [msgspec.to_builtins(o) for o in obstacles],
            "held": [msgspec.to_builtins(o) for o in held],
            "findings": [
                {k: v for k, v in msgspec.to_builtins(f).items() if k != "statement"}
                for f in (judged.findings if judged is not None else ())
            ],
            "target": str(target),
        }
    )
    output.say(f"target  {target}")
    output.say(f"plan    {plan.hash}")
    output.say(f"base    {plan.base or 'an empty history'} ({len(plan.applied)} applied)")
    if steps:
        output.table(
            ("revision", "name", "phase", "mode", "statements"),
            [
                (
                    s["revision"],
                    s["name"],
                    s["phase"],
                    "transaction" if s["transactional"] else "journal",
                    str(len(s["statements"])),
                )
                for s in steps
            ],
        )
    else:
        output.say("nothing to do")
    for obstacle in obstacles:
        output.say(f"{output.mark(obstacle.code, 'bad')}: {obstacle.message}")
    for one in held:
        output.say(f"{output.mark(one.code, 'warn')}: {one.message}; what stands before it may be applied")
    for note in judged.notes if judged is not None else ():
        output.say(note)
    leave(Exit.REFUSED if obstacles or held else Exit.OK)
