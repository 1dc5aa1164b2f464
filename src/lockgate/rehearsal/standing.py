"""The queries under the roles that applications have: what a role could do before, it has to be able to do after.

The files run as their owner, who may everything. A privilege that is revoked, a policy that lets nothing in, a schema
that a role may not use any more: only the role itself notices.
"""

from collections.abc import Iterable

from lockgate.postgres.queries import query
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.tables import quote
from lockgate.postgres.wire import Call, Wire


def read_grantees(wire: Wire) -> list[str]:
    """The roles that hold a privilege on a user's relation, its owner apart; system roles and superusers left out."""
    return [row[0] or "" for row in wire.one(query("rehearsal/grantees")).rows]


def run_as(wire: Wire, role: str, executions: Iterable[str]) -> int:
    """Run these in a transaction as ``role`` and roll it back; how many rows came back. Raises ``ServerError``."""
    calls = [Call("BEGIN"), Call(f"SET LOCAL ROLE {quote(role)}"), *map(Call, executions)]
    try:
        replies = wire.batch([*calls, Call("ROLLBACK")])
    except ServerError:
        if wire.alive and wire.in_transaction:
            wire.batch([Call("ROLLBACK")], uncancellable=True)
        raise
    return sum(len(reply.rows) for reply in replies[2:-1])
