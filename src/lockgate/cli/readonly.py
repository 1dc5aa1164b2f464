"""``lockgate readonly``."""

from typing import TYPE_CHECKING, Any

import click

from lockgate.cli.options import Session, leave, shared, usage
from lockgate.record.reasons import Exit

if TYPE_CHECKING:
    from lockgate.gate.draining import Drained
    from lockgate.postgres.intents import Waiting

_actor = click.option("--actor", metavar="NAME", default="", help="Who (default: the current user).")


@click.group("readonly")
def command() -> None:
    """Let services refuse writes, or queue them; and do afterwards what was queued, each write exactly once.

    Middleware hears of a switch at its next refresh. It is a request to gated services, not a lock: who writes without the
    middleware still can.
    """


@command.command("on")
@shared()
@click.option("--reason", metavar="TEXT", default="", help="Why; it has to be given.")
@_actor
@click.option(
    "--retry-after", metavar="SECONDS", type=click.IntRange(1, 86400), default=30, show_default=True,
    help="What refused writers are told.",
)  # fmt: skip
def on_command(reason: str, actor: str, retry_after: int, **shared_options: Any) -> None:
    """Services refuse writes from their next refresh on, or queue those that bear an idempotency key."""
    if not reason.strip():
        raise usage("--reason is missing", "lockgate readonly on --reason TEXT")
    _switch(shared_options, on=True, reason=reason, actor=actor, retry_after=retry_after)


@command.command("off")
@shared()
def off_command(**shared_options: Any) -> None:
    """Services take writes again. What was queued waits for `lockgate readonly drain`."""
    _switch(shared_options, on=False)


@command.command("status")
@shared()
def status_command(**shared_options: Any) -> None:
    """Read-only mode as it stands."""
    from lockgate.postgres.environment import read_mode

    session = Session(**shared_options)
    target = session.target()
    _show_mode(session, target, read_mode(target))


@command.command("intents")
@shared()
def intents_command(**shared_options: Any) -> None:
    """The writes that wait, the oldest first. What they hold is not shown. Exits 1 while any waits."""
    from lockgate.postgres.intents import read_waiting

    session = Session(**shared_options)
    target = session.target()
    waiting = read_waiting(target)
    _show_writes(session, target, waiting)
    leave(Exit.FOUND if waiting else Exit.OK)


@command.command("drain")
@shared()
@click.option(
    "--handler", metavar="MODULE:NAME", required=True,
    help="Called as NAME(connection, intent) for each write; it writes on that connection and does not commit.",
)  # fmt: skip
@click.option(
    "--most", metavar="N", type=click.IntRange(min=0), default=0, help="Stop after so many; 0 drains all."
)
def drain_command(handler: str, most: int, **shared_options: Any) -> None:
    """Do what was queued: each write exactly once, in order among those of one key. A drain that is killed is called again.

    A write that fails is rolled back and waits, with what is queued behind it under its key; the other keys go on. Exits 3
    when one failed, 75 while read-only mode is on.
    """
    from lockgate.gate.draining import drain
    from lockgate.postgres.intents import read_waiting
    from lockgate.postgres.plain import plain_connection

    session = Session(**shared_options)
    call = _callable(handler)
    target = session.target()
    with plain_connection(target, "drain") as connection:
        found = drain(connection, call, most=most)
    _show_writes(session, target, read_waiting(target) if found.waiting else (), found)
    leave(Exit.FAILED if found.failures else Exit.OK)


@command.command("retry")
@shared()
@click.argument("id", type=int)
@click.option("--reason", metavar="TEXT", required=True, help="Why.")
@_actor
def retry_command(id: int, reason: str, actor: str, **shared_options: Any) -> None:
    """Let the next drain try a held write again, once somebody has looked that nothing of it stands."""
    _decide(id, "queued", reason, actor, shared_options)


@command.command("discard")
@shared()
@click.argument("id", type=int)
@click.option("--reason", metavar="TEXT", required=True, help="Why.")
@_actor
def discard_command(id: int, reason: str, actor: str, **shared_options: Any) -> None:
    """Never do a write that waits; what is queued behind it goes on. Who and why stand beside it."""
    _decide(id, "discarded", reason, actor, shared_options)


def _switch(
    shared_options: dict[str, Any], *, on: bool, reason: str = "", actor: str = "", retry_after: int = 30
) -> None:
    from lockgate.postgres.environment import switch_mode
    from lockgate.release.authorise import refuse_application_role
    from lockgate.release.operator import operator_name

    session = Session(**shared_options)
    refuse_application_role()
    target = session.target()
    now = switch_mode(target, on=on, reason=reason, actor=actor or operator_name(), retry_after=retry_after)
    _show_mode(session, target, now)


def _show_mode(session: Session, target: object, now: Any) -> None:
    import msgspec

    session.output.json({"command": "readonly", "target": str(target), **msgspec.to_builtins(now)})
    session.output.say(
        f"read-only mode is on since {now.since[:19]}: {now.reason} ({now.actor})"
        if now.on
        else "read-only mode is off"
    )


def _decide(id: int, state: str, reason: str, actor: str, shared_options: dict[str, Any]) -> None:
    from lockgate.postgres.intents import decide, read_waiting
    from lockgate.release.authorise import refuse_application_role
    from lockgate.release.operator import operator_name

    session = Session(**shared_options)
    refuse_application_role()
    target = session.target()
    decide(target, id, state, actor or operator_name(), reason)
    _show_writes(session, target, read_waiting(target))


def _show_writes(
    session: Session, target: object, waiting: "tuple[Waiting, ...]", drained: "Drained | None" = None
) -> None:
    import msgspec

    output = session.output
    failures = () if drained is None else drained.failures
    output.json(
        {
            "command": "readonly intents", "target": str(target), "drained": 0 if drained is None else drained.done,
            "failures": [{"id": f.id, "orderKey": f.order_key, "error": f.error} for f in failures],
            "waiting": len(waiting) if drained is None else drained.waiting,
            "intents": [msgspec.to_builtins(one) for one in waiting],
        }
    )  # fmt: skip
    if drained is not None:
        output.say(f"{drained.done} done, {drained.waiting} wait")
    if waiting:
        output.table(
            ("id", "state", "what", "order key", "queued", "tried", "last error"),
            [
                (str(w.id), w.state, w.kind, w.order_key, w.queued_at[:19], str(w.attempts), w.last_error[:80])
                for w in waiting
            ],
        )  # fmt: skip
    elif drained is None:
        output.say("no write waits")
    for failure in failures:
        output.note(f"write {failure.id} failed, and its key {failure.order_key!r} waits: {failure.error}")
    if failures:
        output.note("  next:  mend the cause and drain again, or lockgate readonly discard ID --reason TEXT")


def _callable(text: str) -> Any:
    import sys
    from importlib import import_module

    module, _, name = text.partition(":")
    sys.path.insert(0, "")
    try:
        call = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise usage(f"--handler {text}: {error}", "Give MODULE:NAME of a function.") from None
    if not callable(call):
        raise usage(f"--handler {text} is no function", "Give MODULE:NAME of a function.")
    return call
