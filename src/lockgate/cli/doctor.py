"""``lockgate doctor``."""

from typing import Any

import click

from lockgate.cli.options import Session, leave, shared
from lockgate.record.reasons import Exit
from lockgate.record.words import counted


@click.command("doctor")
@shared()
def command(**shared_options: Any) -> None:
    """Look for what needs a person, each with the next command. Changes nothing; exits 1 when an error is found."""
    import msgspec

    from lockgate.migrations.limits import Limits
    from lockgate.release.checkup import checkup
    from lockgate.release.project import read_files

    session = Session(**shared_options)
    output = session.output
    target = session.target()
    variable = "DATABASE_URL" if target.source == "DATABASE_URL" else ""
    if target.environment:
        variable = session.settings.env[target.environment].url_env
    files = read_files(session.settings)
    findings = checkup(
        target, session.settings.roles, Limits.of(session.settings.migrations), variable, files
    )
    errors = [f for f in findings if f.severity == "error"]
    output.json(
        {
            "command": "doctor",
            "target": str(target),
            "healthy": not errors,
            "findings": [msgspec.to_builtins(f) for f in findings],
        }
    )
    for finding in findings:
        output.say(
            f"{output.mark(finding.severity, {'error': 'bad', 'warning': 'warn'}.get(finding.severity, 'dim'))}  {finding.id}: {finding.message}"
        )
        if finding.evidence:
            output.say(f"    seen  {finding.evidence}")
        if finding.next:
            output.say(f"    next  {finding.next}")
    output.say(
        f"{counted(len(errors), 'error')}, {counted(len(findings) - len(errors), 'other finding')}"
        if findings
        else f"{output.mark('healthy', 'good')}: nothing found on {target}"
    )
    leave(Exit.FOUND if errors else Exit.OK)
