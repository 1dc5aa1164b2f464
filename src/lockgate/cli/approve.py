"""``lockgate approve``."""

from typing import Any

import click

from lockgate.cli.options import Session, shared, usage


@click.command("approve")
@shared()
@click.option(
    "--role", metavar="NAME", default="approver", show_default=True, help="The role you approve in."
)
@click.option("--expires", metavar="TIME", default="24h", show_default=True, help="How long it holds.")
@click.option(
    "--actor", metavar="WHO", default=None, help="Who approves (default: LOCKGATE_ACTOR, else the login)."
)
@click.option(
    "--plan-hash", metavar="HASH", default=None, help="The plan (default: what `lockgate plan` shows now)."
)
@click.option("--reason", metavar="TEXT", default="", help="Why; needed with --break-glass.")
@click.option(
    "--break-glass",
    is_flag=True,
    help="Let a release go without the full number; it is told in every artifact.",
)
@click.option("--revoke", metavar="ID", default=None, help="Take an approval back instead.")
@click.option("--list", "listing", is_flag=True, help="Show the approvals of the environment instead.")
@click.option(
    "--sign",
    "key",
    metavar="KEYFILE",
    default=None,
    help="Sign with this Ed25519 key (PEM) and write a file, without a database.",
)
@click.option(
    "--out", metavar="FILE", default=None, help="Where the signed file goes (default: the approvals folder)."
)
@click.option(
    "--new-key", metavar="FILE", default=None, help="Make a key, write it to FILE, print its public half."
)
def command(
    role: str,
    expires: str,
    actor: str | None,
    plan_hash: str | None,
    reason: str,
    break_glass: bool,
    revoke: str | None,
    listing: bool,
    key: str | None,
    out: str | None,
    new_key: str | None,
    **shared_options: Any,
) -> None:
    """Approve a plan for an environment: it binds you, your role, an end, the plan hash and the environment.

    Nobody's approval counts for a release of their own. It is void when the files or the database change.
    """
    import re

    from lockgate.config import seconds
    from lockgate.release.authorise import refuse_application_role
    from lockgate.release.operator import operator_name

    refuse_application_role()
    session = Session(**shared_options)
    if new_key is not None:
        _new_key(session, new_key)
        return
    environment = shared_options.get("env")
    if not environment:
        what = " --list" if listing else f" --revoke {revoke}" if revoke is not None else ""
        names = ", ".join(sorted(session.settings.env)) or "none is configured: [env.NAME] in lockgate.toml"
        raise usage(
            f"approve{what} needs --env: an approval is for one environment ({names})",
            f"lockgate approve --env {next(iter(session.settings.env)) if len(session.settings.env) == 1 else 'NAME'}{what}",
        )
    if environment not in session.settings.env:
        session.target()  # says which environments there are
    if listing:
        _list(session, environment)
        return
    if revoke is not None:
        _revoke(session, revoke)
        return
    holds = seconds(expires) if re.fullmatch(r"\s*[0-9].*", expires) else 0.0
    if holds <= 0:
        raise usage(
            f"--expires {expires!r} is not a time such as 24h or 30min",
            "lockgate approve --env NAME --expires 24h",
        )
    who = (actor or operator_name()).strip()
    if not who or not role.strip():
        raise usage(
            "an approval needs a person and a role", "lockgate approve --env NAME --actor WHO --role ROLE"
        )
    if break_glass and not reason.strip():
        raise usage("--break-glass needs --reason", "lockgate approve --env NAME --break-glass --reason TEXT")
    if plan_hash is not None and not re.fullmatch(r"[0-9a-f]{64}", plan_hash):
        raise usage("--plan-hash is 64 hex digits", "lockgate plan --env NAME")
    known = session.settings.approvers
    if known and (who not in known or role not in known[who].roles):
        told = (
            f"may approve as {', '.join(known[who].roles) or 'nothing'}, and not as {role}"
            if who in known
            else "is not among [approvers]"
        )
        raise usage(
            f"{who} {told} in lockgate.toml",
            f"Give --role {known[who].roles[0]}, or change lockgate.toml by review."
            if who in known and known[who].roles
            else "Approve as somebody of [approvers] (--actor WHO), or change lockgate.toml by review.",
        )
    if key is not None:
        _sign(session, environment, plan_hash, who, role, holds, break_glass, reason, key, out)
        return
    _write(session, environment, plan_hash, who, role, holds, break_glass, reason)


def _write(
    session: Session,
    environment: str,
    plan_hash: str | None,
    who: str,
    role: str,
    holds: float,
    break_glass: bool,
    reason: str,
) -> None:
    import secrets

    from lockgate.migrations.limits import Limits
    from lockgate.postgres.alarm import Alarm
    from lockgate.postgres.approvals import write_approval
    from lockgate.release.desk import ensure_home
    from lockgate.release.look import connect_patiently
    from lockgate.release.operator import operator_name

    target = session.target()
    limits = Limits.of(session.settings.migrations)
    plan_hash = plan_hash or _plan_hash(session)
    approval_id = f"a-{secrets.token_hex(6)}"
    with Alarm() as alarm:
        ensure_home(target, session.settings, limits, alarm)
        wire = connect_patiently(target, "approve", limits, alarm)
        try:
            ends = write_approval(
                wire, approval_id, environment, plan_hash, who, role, holds,
                break_glass=break_glass, reason=reason, detail={"login": operator_name()},
            )  # fmt: skip
        finally:
            wire.close()
    _tell(session, approval_id, environment, plan_hash, who, role, ends, "", break_glass)


def _sign(
    session: Session, environment: str, plan_hash: str | None, who: str, role: str, holds: float, break_glass: bool, reason: str, key: str, out: str | None
) -> None:  # fmt: skip
    import secrets
    from datetime import UTC, datetime, timedelta
    from pathlib import Path

    from lockgate.release.approval import Approval
    from lockgate.release.approve import check_key, write_file

    missing = check_key(session.settings, who, Path(key))
    plan_hash = plan_hash or _plan_hash(session)
    now = datetime.now(UTC)
    approval_id = f"f-{secrets.token_hex(6)}"
    approval = Approval(
        approval_id,
        environment,
        plan_hash,
        who,
        role,
        now,
        now + timedelta(seconds=holds),
        break_glass,
        reason,
    )
    folder = session.settings.path(session.settings.release.approvals_directory)
    path = Path(out) if out else folder / f"{approval_id}.json"
    try:
        write_file(approval, Path(key), path)
    except OSError as error:
        raise usage(f"{path}: {error.strerror or error}", "Give another place with --out.") from None
    _tell(
        session,
        approval_id,
        environment,
        plan_hash,
        who,
        role,
        approval.expires_at.isoformat(),
        str(path),
        break_glass,
    )
    if missing:
        session.output.note(f"lockgate: {missing}")


def _tell(
    session: Session, approval_id: str, environment: str, plan_hash: str, who: str, role: str, ends: str, file: str, break_glass: bool
) -> None:  # fmt: skip
    session.output.json(
        {
            "command": "approve",
            "approval": {
                "approvalId": approval_id, "environment": environment, "planHash": plan_hash, "approver": who, "role": role,
                "expiresAt": ends, "breakGlass": break_glass, "file": file,
            },
        }
    )  # fmt: skip
    session.output.say(
        f"{session.output.mark('approved', 'good')}  {approval_id}: {who} as {role}, until {ends}"
    )
    session.output.say(f"  plan {plan_hash} for {environment}")
    if file:
        session.output.say(f"  {file}")
    if break_glass:
        session.output.say(
            f"  {session.output.mark('BREAK GLASS', 'bad')}: lockgate release --break-glass REASON may use it"
        )


def _plan_hash(session: Session) -> str:
    """The hash of the plan that ``up`` would run now; it is what is approved when none is named."""
    from lockgate.migrations.limits import Limits
    from lockgate.migrations.plan import resolve
    from lockgate.release.look import look
    from lockgate.release.project import read_files, refuse_problems

    files = read_files(session.settings)
    refuse_problems(files.problems)
    looked = look(session.target(), Limits.of(session.settings.migrations))
    return resolve(files.migrations, looked.history).hash


def _list(session: Session, environment: str) -> None:
    import msgspec

    from lockgate.migrations.limits import Limits
    from lockgate.release.approve import gather
    from lockgate.release.look import connect_patiently

    wire = connect_patiently(session.target(), "approve", Limits.of(session.settings.migrations), None)
    try:
        found, ignored = gather(wire, session.settings, environment)
    finally:
        wire.close()
    session.output.json(
        {
            "command": "approve list",
            "approvals": [msgspec.to_builtins(a) for a in found],
            "ignored": [msgspec.to_builtins(i) for i in ignored],
        }
    )
    for one in ignored:
        session.output.say(f"{session.output.mark('ignored', 'bad')}  {one.file}: {one.why}")
    if not found:
        session.output.say("no approvals")
        return
    from datetime import UTC, datetime

    now = datetime.now(UTC)  # for the eye only: what counts is judged by the database's clock
    session.output.table(
        ("approval", "plan", "approver", "role", "expires", "note"),
        [
            (
                a.approval_id, a.plan_hash[:12], a.approver, a.role, f"{a.expires_at:%Y-%m-%d %H:%M} UTC",
                ", ".join(w for w, on in (("revoked", a.revoked), ("EXPIRED", a.expires_at <= now), ("signed", a.signed), ("break-glass", a.break_glass)) if on),
            )
            for a in found
        ],
    )  # fmt: skip


def _revoke(session: Session, approval_id: str) -> None:
    from lockgate.migrations.limits import Limits
    from lockgate.postgres.approvals import revoke_approval
    from lockgate.release.look import connect_patiently

    wire = connect_patiently(session.target(), "approve", Limits.of(session.settings.migrations), None)
    try:
        if not revoke_approval(wire, approval_id):
            raise usage(
                f"there is no approval {approval_id} that could be taken back",
                "lockgate approve --env NAME --list",
            )
    finally:
        wire.close()
    session.output.json({"command": "approve revoke", "approvalId": approval_id})
    session.output.say(f"revoked  {approval_id}")


def _new_key(session: Session, name: str) -> None:
    import os

    from lockgate.release.signing import new_key

    private, public = new_key()
    try:
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise usage(f"{name}: {error.strerror}", "Give the name of a new file.") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(private)
    session.output.json({"command": "approve key", "file": name, "publicKey": public})
    session.output.say(f"made  {name} (keep it to yourself)")
    session.output.say(f'key = "{public}"   # under [approvers.YOU] in lockgate.toml')
