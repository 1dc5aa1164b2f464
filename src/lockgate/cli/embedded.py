"""``lockgate embedded``."""

from typing import Any

import click

from lockgate.cli.options import Session, leave, shared
from lockgate.record.reasons import Exit


@click.command("embedded")
@shared(target=False)
@click.argument("action", type=click.Choice(["start", "url", "status", "stop"]), default="status")
def command(action: str, **shared_options: Any) -> None:
    """The embedded PostgreSQL of this project: start it, print its URL or its state, or stop it and those of rehearsals and tests."""
    from lockgate.postgres.embedded import Embedded

    session = Session(**shared_options)
    output = session.output
    home = session.settings.path(".lockgate")
    if action == "stop":
        from lockgate.rehearsal.ground import HOME as REHEARSALS

        places = (home, session.settings.path(REHEARSALS), session.settings.path(".lockgate/tests"))
        servers = [server for place in places for server in Embedded.running(place)]
        for one in servers:
            one.stop("fast")
        output.json({"command": "embedded", "running": False})
        output.say("stopped" if servers else "not running")
        return
    server = session.embedded() if action in ("start", "url") else Embedded.find(home)
    if server is None:
        output.json({"command": "embedded", "running": False})
        output.say("not running")
        leave(Exit.FOUND if action == "status" else Exit.OK)
        return
    output.json(
        {
            "command": "embedded",
            "running": True,
            "url": server.url(),
            "version": server.version,
            "pid": server.pid,
            "log": str(server.log),
        }
    )
    output.say(
        server.url()
        if action == "url"
        else f"PostgreSQL {server.version}, pid {server.pid}\n  url  {server.url()}\n  log  {server.log}"
    )
