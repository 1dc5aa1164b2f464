"""``lockgate runbook``."""

from typing import Any

import click

from lockgate.cli.options import Session, shared, usage


@click.command("runbook")
@shared(target=False)
@click.option("--env", metavar="NAME", default="", help="Environment of lockgate.toml.")
@click.option("--out", metavar="FILE", default=None, help="Write it to a file instead of printing it.")
def command(env: str, out: str | None, **shared_options: Any) -> None:
    """The runbook of an environment, written from its configuration. Connects to nothing."""
    from pathlib import Path

    from lockgate.release.runbook import runbook

    session = Session(**shared_options)
    if env and env not in session.settings.env:
        known = ", ".join(sorted(session.settings.env)) or "none"
        raise usage(f"there is no environment {env!r} in lockgate.toml (known: {known})")
    text = runbook(session.settings, env)
    if out:
        try:
            Path(out).write_text(text, "utf-8")
        except OSError as error:
            raise usage(f"{out}: {error.strerror}", "Give another place with --out.") from None
    session.output.json({"command": "runbook", "environment": env, "file": out or "", "text": text})
    session.output.say(f"made  {out}" if out else text)
