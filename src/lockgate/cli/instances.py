"""``lockgate instances``."""

from typing import Any

import click

from lockgate.cli.options import Session, leave, shared
from lockgate.record.reasons import Exit
from lockgate.record.words import lasting


@click.command("instances")
@shared()
@click.option("--live", is_flag=True, help="Only those whose heartbeat has not expired.")
def command(live: bool, **shared_options: Any) -> None:
    """The running services that have registered, each with its contract's window and what it sees.

    Exits 1 when a live instance is outside the window of the database, or sees something else than its like.
    """
    import msgspec

    from lockgate.postgres.instances import read_instances, unequal

    session = Session(**shared_options)
    output = session.output
    target = session.target()
    found = read_instances(target, live_only=live)
    differing = unequal(found)
    outside = [one for one in found if one.live and not one.in_window]
    output.json(
        {
            "command": "instances", "target": str(target), "instances": [msgspec.to_builtins(one) for one in found], "unequal": differing,
        }
    )  # fmt: skip
    if found:
        output.table(
            ("service", "release", "window", "heartbeat", "state", "instance"),
            [
                (
                    one.service, one.release_id, f"{one.schema_min} to {one.schema_max}", f"{lasting(one.age_seconds)} ago",
                    output.mark("live" if one.in_window else "live, outside its window", "good" if one.in_window else "bad")
                    if one.live else output.mark("expired", "dim"),
                    one.instance_id,
                )
                for one in found
            ],
        )  # fmt: skip
    else:
        output.say("no instance is registered")
    for text in differing:
        output.say(f"{output.mark('unequal', 'bad')}: {text}")
    leave(Exit.FOUND if differing or outside else Exit.OK)
