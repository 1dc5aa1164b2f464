"""``lockgate serve``."""

from typing import Any

import click

from lockgate.cli.options import Session, shared
from lockgate.cli.watch import watched_environments, web_extra


@click.command("serve")
@shared()
@click.option(
    "--host",
    metavar="ADDRESS",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. Nothing here asks for a login.",
)
@click.option(
    "--port",
    metavar="PORT",
    type=click.IntRange(0, 65535),
    default=9187,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
def command(host: str, port: int, **shared_options: Any) -> None:
    """A page, /metrics and health for every configured environment. Only reads; ends with SIGTERM or Ctrl-C."""
    import socket

    from lockgate.errors import ConfigError

    session = Session(**shared_options)
    environments = watched_environments(session, shared_options["env"], shared_options["database_url"])
    try:
        import uvicorn

        from lockgate.web.app import make_app
    except ModuleNotFoundError as error:
        raise web_extra(error.name or "uvicorn") from None
    try:
        listener = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror}",
            "USAGE",
            next="Give another --host or --port.",
        ) from None
    where = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}/"
    session.output.json({"command": "serve", "url": where})
    session.output.say(f"serving {where}")
    config = uvicorn.Config(make_app(environments), log_level="warning", access_log=False, lifespan="off")
    uvicorn.Server(config).run(sockets=[listener])
