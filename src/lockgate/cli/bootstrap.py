"""``lockgate bootstrap``."""

from typing import Any

import click

from lockgate.cli.options import Session, shared, usage


@click.command("bootstrap")
@shared()
def command(**shared_options: Any) -> None:
    """Bring a whole environment up: roles, extensions, migrations, secrets, the contract's conditions, parity.

    The steps and their order are declared in lockgate.toml. A call that was stopped is simply repeated: it goes on where it
    stopped.
    """
    import msgspec

    from lockgate.cli.regions import region_targets
    from lockgate.postgres.alarm import Alarm
    from lockgate.release.authorise import refuse_application_role
    from lockgate.release.bootstrap import Bootstrap

    session = Session(**shared_options)
    output = session.output
    environment = shared_options["env"]
    refuse_application_role()
    if environment is None:
        raise usage("there is no environment", "lockgate bootstrap --env NAME")
    target = session.target()
    regions = (
        region_targets(session.settings, environment) if session.settings.env[environment].regions else {}
    )
    with Alarm() as alarm:
        report = Bootstrap(
            target,
            session.settings,
            environment,
            regions=regions,
            tell=lambda step, word: output.note(f"{step}: {word}"),
            alarm=alarm,
        ).run()
    output.json({"command": "bootstrap", "environment": environment, **msgspec.to_builtins(report)})
    output.table(
        ("step", "outcome", "evidence"),
        [(name, output.mark(step.outcome, "good"), step.evidence) for name, step in report.steps.items()],
    )
    output.say(f"{environment} is up, revision {report.environment_digest[:12]}")
