"""``lockgate plan``."""

from typing import Any

import click

from lockgate.cli.options import Session, leave, shared
from lockgate.record.reasons import Exit


@click.command("plan")
@shared()
def command(**shared_options: Any) -> None:
    """What `up` would do, with the plan hash. Changes nothing; exits 4 when something is in the way."""
    import msgspec

    from lockgate.migrations.limits import Limits
    from lockgate.migrations.plan import resolve
    from lockgate.release.look import look
    from lockgate.release.project import prepare_files, read_files, refuse_problems

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
    obstacles = [msgspec.to_builtins(o) for o in plan.obstacles]
    output.json(
        {
            "command": "plan",
            "planHash": plan.hash,
            "base": plan.base,
            "goal": plan.goal,
            "applied": len(plan.applied),
            "pending": steps,
            "obstacles": obstacles,
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
    for obstacle in plan.obstacles:
        output.say(f"{output.mark(obstacle.code, 'bad')}: {obstacle.message}")
    leave(Exit.REFUSED if plan.obstacles else Exit.OK)
