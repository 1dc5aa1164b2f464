"""``lockgate readonly``."""

from typing import Any

import click

from lockgate.cli.options import Session, shared, usage


@click.command("readonly")
@shared()
@click.argument("mode", type=click.Choice(["on", "off", "status"]))
@click.option("--reason", metavar="TEXT", default="", help="Why; needed for `on`.")
@click.option("--actor", metavar="NAME", default="", help="Who (default: the current user).")
@click.option(
    "--retry-after",
    metavar="SECONDS",
    type=click.IntRange(1, 86400),
    default=30,
    show_default=True,
    help="What refused writers are told.",
)
def command(mode: str, reason: str, actor: str, retry_after: int, **shared_options: Any) -> None:
    """Let services refuse writes, or take them again. Their middleware hears of it at its next refresh.

    It is a request to gated services, not a lock: who writes without the middleware still can.
    """
    import msgspec

    from lockgate.postgres.environment import read_mode, switch_mode
    from lockgate.release.authorise import refuse_application_role
    from lockgate.release.operator import operator_name

    session = Session(**shared_options)
    if mode == "on" and not reason.strip():
        raise usage("--reason is missing", "lockgate readonly on --reason TEXT")
    if mode != "status":
        refuse_application_role()
    target = session.target()
    now = (
        read_mode(target)
        if mode == "status"
        else switch_mode(
            target, on=mode == "on", reason=reason, actor=actor or operator_name(), retry_after=retry_after
        )
    )
    session.output.json({"command": "readonly", "target": str(target), **msgspec.to_builtins(now)})
    session.output.say(
        f"read-only mode is on since {now.since[:19]}: {now.reason} ({now.actor})"
        if now.on
        else "read-only mode is off"
    )
