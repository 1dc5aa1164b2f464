"""``lockgate metrics``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lockgate.cli.options import Session, shared
from lockgate.cli.watch import watched_environments

if TYPE_CHECKING:
    from lockgate.web.metrics import Watched


@click.command("metrics")
@shared()
@click.option(
    "--textfile",
    metavar="FILE",
    default="",
    help="Write them there, whole or not at all, for a node exporter's textfile collector.",
)
@click.option(
    "--otlp",
    is_flag=True,
    help="Send them to OTEL_EXPORTER_OTLP_ENDPOINT instead of printing them (extra otel).",
)
def command(textfile: str, otlp: bool, **shared_options: Any) -> None:
    """The figures of every configured environment in Prometheus' text format, read from the tables.

    With --otlp they go to an OpenTelemetry collector. Exits 69 when it does not take them.
    """
    from lockgate.errors import ConfigError
    from lockgate.record.artifact import write_atomically
    from lockgate.record.redact import redact

    session = Session(**shared_options)
    environments = watched_environments(session, shared_options["env"], shared_options["database_url"])
    from lockgate.web.metrics import exposition

    watched = environments.look()
    if otlp:
        _send(watched)
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
    if otlp:
        session.output.say("sent")
    elif not textfile:
        session.output.say(text.rstrip())


def _send(watched: "tuple[Watched, ...]") -> None:
    from lockgate.errors import ConfigError, Unreachable
    from lockgate.web.otlp import push

    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error.name} is not installed", next="pip install 'lockgate[otel]'") from None
    if not push(watched, OTLPMetricExporter(timeout=5)):
        raise Unreachable(
            "the collector did not take the figures",
            next="Look at OTEL_EXPORTER_OTLP_ENDPOINT and the collector behind it.",
        )
