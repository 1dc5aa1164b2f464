"""``lockgate metrics``."""

from pathlib import Path
from typing import Any

import click

from lockgate.cli.options import Session, shared
from lockgate.cli.watch import watched_environments


@click.command("metrics")
@shared()
@click.option(
    "--textfile",
    metavar="FILE",
    default="",
    help="Write them there, whole or not at all, for a node exporter's textfile collector.",
)
def command(textfile: str, **shared_options: Any) -> None:
    """The figures of every configured environment in Prometheus' text format, read from the tables."""
    from lockgate.errors import ConfigError
    from lockgate.record.artifact import write_atomically
    from lockgate.record.redact import redact

    session = Session(**shared_options)
    environments = watched_environments(session, shared_options["env"], shared_options["database_url"])
    from lockgate.web.metrics import exposition

    watched = environments.look()
    text = redact(exposition(watched).decode())
    if textfile:
        try:
            write_atomically(Path(textfile), text.encode())
        except OSError as error:
            raise ConfigError(
                f"--textfile {textfile}: {error.strerror}",
                "USAGE",
                next="Give a file in a folder that can be written.",
            ) from None
    session.output.json(
        {
            "command": "metrics",
            "environments": {one.name: one.figures.reached for one in watched},
            "exposition": text,
        }
    )
    if not textfile:
        session.output.say(text.rstrip())
