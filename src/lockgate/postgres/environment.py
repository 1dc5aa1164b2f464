"""What an environment says of itself, changed by people: accepted secrets, read-only mode. Who and why stand beside it."""

from collections.abc import Sequence

import msgspec

from lockgate.errors import Refused
from lockgate.postgres import home
from lockgate.postgres.intents import ALL_PLACED
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Call, Reply, Wire


class Accepted(msgspec.Struct, frozen=True, rename="camel"):
    """One revision of secrets that is, was or will be accepted; ``epoch`` grows with every revision that is new here."""

    revision: str
    accepted_from: str
    accepted_until: str
    actor: str
    reason: str
    current: bool
    epoch: int = 0


class ReadOnly(msgspec.Struct, frozen=True, rename="camel"):
    """Read-only mode as it stands; ``on`` False and the rest empty when writes flow."""

    on: bool
    reason: str = ""
    actor: str = ""
    since: str = ""
    retry_after_seconds: int = 0


_ACCEPTED = """
SELECT revision, accepted_from::text, COALESCE(accepted_until::text, ''), actor, reason,
       (accepted_from <= pg_catalog.now() AND (accepted_until IS NULL OR accepted_until > pg_catalog.now()))::text, epoch::text
  FROM lockgate.accepted_secrets ORDER BY accepted_secrets.epoch
"""
_ACCEPT = """
INSERT INTO lockgate.accepted_secrets AS s (revision, actor, reason) VALUES ($1, $2, $3)
ON CONFLICT (revision) DO UPDATE SET accepted_until = NULL, actor = excluded.actor,
  accepted_from = CASE WHEN s.accepted_until IS NULL THEN s.accepted_from ELSE excluded.accepted_from END,
  reason = excluded.reason || CASE WHEN s.accepted_until IS NULL THEN '' ELSE pg_catalog.format(
    ' (before: accepted %s to %s, retired by %s: %s)', s.accepted_from::timestamp(0), s.accepted_until::timestamp(0), s.actor, s.reason) END
"""
"""One that was retired counts from now on; what was before stays in its reason."""
_RETIRE = "UPDATE lockgate.accepted_secrets SET accepted_until = pg_catalog.now(), actor = $2, reason = $3 WHERE revision = $1 AND accepted_until IS NULL RETURNING revision"
_CURRENT = "SELECT count(*)::text FROM lockgate.accepted_secrets WHERE accepted_until IS NULL OR accepted_until > pg_catalog.now()"
_ON = """
INSERT INTO lockgate.read_only_mode (reason, actor, retry_after) VALUES ($1, $2, $3::integer)
ON CONFLICT (singleton) DO UPDATE SET reason = excluded.reason, actor = excluded.actor, retry_after = excluded.retry_after
"""
_MODE = "SELECT reason, actor, since::text, retry_after::text FROM lockgate.read_only_mode"


def read_accepted(target: Target) -> tuple[Accepted, ...]:
    """Every revision in the order in which they were accepted first."""
    rows = _run(target, [Call(_ACCEPTED)])[-1].rows
    return tuple(
        Accepted(r[0] or "", r[1] or "", r[2] or "", r[3] or "", r[4] or "", r[5] == "true", int(r[6] or 0))
        for r in rows
    )


def accept(target: Target, revision: str, actor: str, reason: str) -> tuple[Accepted, ...]:
    """Accept ``revision`` from now on. Raises ``Refused`` when two others are accepted already: a rotation has two ends."""
    others = [one for one in read_accepted(target) if one.current and one.revision != revision]
    if len(others) > 1:
        raise Refused(
            f"two revisions are accepted already: {', '.join(one.revision[:16] for one in others)}", "SECRETS_ROTATION",
            details={"accepted": [one.revision for one in others]},
        )  # fmt: skip
    _run(target, [Call(_ACCEPT, (revision, actor, reason))])
    return read_accepted(target)


def retire(target: Target, revision: str, actor: str, reason: str) -> tuple[Accepted, ...]:
    """Accept ``revision`` no more. Raises ``Refused`` when it is not accepted, and when it is the last one."""
    current = [one.revision for one in read_accepted(target) if one.current]
    if revision not in current:
        raise Refused(
            f"{revision[:16]} is not accepted here", "SECRETS_ROTATION", next="lockgate gate secrets list"
        )
    if len(current) == 1:
        raise Refused(
            f"{revision[:16]} is the only accepted revision; without it secrets would be no condition at all", "SECRETS_ROTATION",
            next="Accept the next one first.",
        )  # fmt: skip
    _run(target, [Call(_RETIRE, (revision, actor, reason))])
    return read_accepted(target)


def read_mode(target: Target) -> ReadOnly:
    """Read-only mode as it stands."""
    return _mode(_run(target, [Call(_MODE)])[-1])


def switch_mode(
    target: Target, *, on: bool, reason: str = "", actor: str = "", retry_after: int = 30
) -> ReadOnly:
    """Switch read-only mode; services see it at their next refresh."""
    if on:
        return _mode(_run(target, [Call(_ON, (reason, actor, str(retry_after))), Call(_MODE)])[-1])
    # A write that is being queued at this moment is there before the mode is off: nobody would drain it otherwise.
    calls = [Call("BEGIN"), Call(ALL_PLACED), Call("DELETE FROM lockgate.read_only_mode"), Call("COMMIT")]
    return _mode(_run(target, [*calls, Call(_MODE)])[-1])


def _mode(reply: Reply) -> ReadOnly:
    if not reply.rows:
        return ReadOnly(False)
    reason, actor, since, seconds = (cell or "" for cell in reply.rows[0])
    return ReadOnly(True, reason, actor, since, int(seconds))


def _run(target: Target, calls: Sequence[Call]) -> list[Reply]:
    wire = Wire(target, "environment")
    try:
        if home.read_format(wire) < 2:
            raise Refused("the schema lockgate is missing or of an older format", "HOME_OLDER")
        return wire.batch(calls)
    except ServerError as error:
        if error.sqlstate == "42501":
            raise Refused(f"the role may not do this: {error.message}", "PRIVILEGE") from None
        if error.sqlstate == "25006":
            raise Refused(f"{target} is read-only", "READ_ONLY_TARGET") from None
        raise
    finally:
        wire.close()
