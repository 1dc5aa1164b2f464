"""``lockgate gate secrets``."""

import re
from typing import Any

import click

from lockgate.cli.options import Session, shared, usage

_DERIVED = re.compile(r"s[0-9a-f]{32}")
_SHORT = re.compile(r"s[0-9a-f]{11,31}")
"""What `gate secrets revision` prints, and the beginning of it that evidence shows."""


@click.group("secrets")
def command() -> None:
    """The revisions of secrets that an environment accepts: two during a rotation, else one."""


_why = click.option("--reason", metavar="TEXT", required=True, help="Why.")
_who = click.option("--actor", metavar="NAME", default="", help="Who (default: the current user).")


@command.command("list")
@shared()
def list_command(**shared_options: Any) -> None:
    """The accepted revisions, and those that were."""
    from lockgate.postgres.environment import read_accepted

    session = Session(**shared_options)
    target = session.target()
    _show(session, target, read_accepted(target))


@command.command("accept")
@shared()
@click.argument("revision")
@_why
@_who
def accept_command(revision: str, reason: str, actor: str, **shared_options: Any) -> None:
    """Accept REVISION from now on, beside the one that is accepted: the first step of a rotation."""
    from lockgate.postgres.environment import accept

    _change(accept, revision, reason, actor, shared_options)


@command.command("retire")
@shared()
@click.argument("revision")
@_why
@_who
def retire_command(revision: str, reason: str, actor: str, **shared_options: Any) -> None:
    """Accept REVISION no more: the last step of a rotation."""
    from lockgate.postgres.environment import retire

    _change(retire, revision, reason, actor, shared_options)


@command.command("revision")
@shared(target=False)
@click.option(
    "--secret",
    "given",
    metavar="NAME=SOURCE",
    multiple=True,
    required=True,
    help="env:VARIABLE, file:PATH or command:WORDS. Repeat it.",
)
@click.option(
    "--salt",
    metavar="TEXT",
    required=True,
    help="Such as the environment's name: equal sets of two environments get two revisions.",
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0.1),
    default=90.0,
    show_default=True,
    help="How long one secret may take.",
)
def revision_command(given: tuple[str, ...], salt: str, timeout: float, **shared_options: Any) -> None:
    """Print the revision of a set of secrets, for LOCKGATE_SECRETS_REVISION and `accept`. Shows nothing of them."""
    from lockgate.gate.secrets_revision import parse, read, revision_of

    session = Session(**shared_options)
    revision = revision_of(read(tuple(parse(text, timeout=timeout) for text in given)), salt)
    session.output.json({"command": "gate secrets", "revision": revision, "target": "", "accepted": []})
    session.output.say(revision)


def _change(act: Any, revision: str, reason: str, actor: str, shared_options: dict[str, Any]) -> None:
    from lockgate.release.authorise import refuse_application_role
    from lockgate.release.operator import operator_name

    session = Session(**shared_options)
    if not revision.strip() or len(revision) > 200:
        raise usage("a revision is a text of 1 to 200 characters")
    if _SHORT.fullmatch(revision):
        raise usage(
            f"{revision} is the short form of a revision, which no process shows as its own",
            next="Give all 33 characters: lockgate gate secrets revision prints them.",
        )
    if not _DERIVED.fullmatch(revision):
        session.output.note(
            "lockgate: warning: this is no revision that `lockgate gate secrets revision` made; it is shown in answers and logs, so it may not be a secret itself"
        )
    refuse_application_role()
    target = session.target()
    _show(session, target, act(target, revision, actor or operator_name(), reason))


def _show(session: Session, target: object, found: Any) -> None:
    import msgspec

    session.output.json(
        {
            "command": "gate secrets",
            "revision": "",
            "target": str(target),
            "accepted": [msgspec.to_builtins(one) for one in found],
        }
    )
    if not found:
        session.output.say("no revision is accepted, so secrets are no condition here")
        return
    session.output.table(
        ("epoch", "revision", "state", "from", "until", "by", "reason"),
        [
            (
                str(one.epoch),
                one.revision,
                "accepted" if one.current else "retired",
                one.accepted_from[:19],
                one.accepted_until[:19],
                one.actor,
                one.reason,
            )
            for one in found
        ],
    )
