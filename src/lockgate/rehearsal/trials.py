"""Calls of a prepared query that leave nothing behind."""

from collections.abc import Iterable

from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.wire import Call, Wire

Trial = list[list[str | None]]
"""The parameters of one call, or of two that follow each other in one transaction."""


def rolled_back(wire: Wire, texts: Iterable[str]) -> int:
    """Run ``texts`` in a transaction that is rolled back; deferred constraints are looked at too. Raises ``ServerError``.

    How many rows those that EXECUTE gave or touched, by the server's count.
    """
    texts = list(texts)
    calls = [
        Call("BEGIN"), *map(Call, texts), Call("SET CONSTRAINTS ALL IMMEDIATE"), Call("ROLLBACK"),
    ]  # fmt: skip
    try:
        replies = wire.batch(calls)
    except ServerError:
        if wire.alive and wire.in_transaction:
            wire.batch([Call("ROLLBACK")], uncancellable=True)
        raise
    counts = [
        reply.tag.rpartition(" ")[2]
        for reply, text in zip(replies[1:], texts, strict=False)
        if text.startswith("EXECUTE")
    ]
    return sum(int(count) for count in counts if count.isdigit())


def error_of(wire: Wire, texts: Iterable[str]) -> ServerError | None:
    """The error with which ``texts`` fail, None where they work."""
    try:
        rolled_back(wire, texts)
    except ServerError as error:
        return error
    return None
