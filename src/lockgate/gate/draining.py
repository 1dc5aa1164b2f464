"""Draining queued writes: each one exactly once, and in order among those of one key.

A write and the word that it is done are one transaction on the application's own connection, so a drain that is killed has
done a write wholly or not at all, and the next one goes on behind it. Any number of drains may run side by side.
"""

import base64
import json
from collections.abc import Callable
from typing import Any, NamedTuple

from lockgate.errors import Refused, RunFailed
from lockgate.postgres import intents
from lockgate.record.redact import redact


class Intent(NamedTuple):
    """One queued write, as ``handle`` gets it.

    ``payload`` is what was put; of an HTTP request ``method``, ``path``, ``query``, ``contentType`` and the body, which
    ``body`` gives as bytes. ``attempts`` counts the drains that failed on it before.
    """

    id: int
    principal: str
    idempotency_key: str
    order_key: str
    kind: str
    payload: dict[str, Any]
    attempts: int
    queued_at: str

    @property
    def body(self) -> bytes:
        """The body of a queued HTTP request."""
        text = str(self.payload.get("body", ""))
        return base64.b64decode(text) if self.payload.get("encoding") == "base64" else text.encode()


class Failure(NamedTuple):
    """A write that could not be done; its key waits."""

    id: int
    order_key: str
    error: str


class Drained(NamedTuple):
    """What a drain did: how many writes it has done, which failed, how many still wait."""

    done: int
    failures: tuple[Failure, ...]
    waiting: int


def drain(
    connection: Any,
    handle: Callable[[Any, Intent], object],
    *,
    most: int = 0,
    on_done: Callable[[Intent], object] | None = None,
) -> Drained:
    """Do what is queued: ``handle(connection, intent)`` writes on ``connection`` and neither commits nor rolls back.

    ``connection`` is DB-API 2.0 with ``%s`` parameters and not in autocommit: psycopg, psycopg2, SQLAlchemy's raw connection.

    What it raises rolls that write back whole and leaves it, and what is queued behind it under its key, waiting; the other
    keys go on. ``most`` above 0 stops after so many. Raises ``Refused`` (READ_ONLY_MODE) while read-only mode is on, and
    ``RunFailed`` (INTENT_FAILED) when ``handle`` ended the transaction itself: then nobody can tell what of it stands.
    """
    if getattr(connection, "autocommit", False) is True:
        raise Refused("a drain needs a connection that is not in autocommit", "USAGE")
    reason = _row(connection, intents.MODE)
    connection.rollback()
    if reason is not None:
        raise Refused(
            f"read-only mode is on: {reason[0]}", "READ_ONLY_MODE", next="lockgate readonly off, then drain."
        )
    done, failures, again = 0, list[Failure](), True
    while not most or done < most:
        row = _row(connection, intents.TAKE, ([failure.order_key for failure in failures],))
        if row is None:
            connection.rollback()
            if not again:
                break
            # Once more, when nothing can be on its way any more that began before.
            _row(connection, intents.ALL_PLACED)
            connection.commit()
            again = False
            continue
        again = True
        number, principal, key, order_key, kind, payload, attempts, queued_at, xid = row
        intent = Intent(number, principal, key, order_key, kind, json.loads(payload), attempts, queued_at)
        try:
            handle(connection, intent)
        except Exception as error:
            failures.append(_failed(connection, intent, error))
            continue
        if _row(connection, intents.TRANSACTION) != (xid,):
            connection.rollback()
            told = "the handler ended the transaction itself, so what of it stands has to be looked up"
            _execute(connection, intents.HELD, (told, intent.id))
            connection.commit()
            raise RunFailed(f"write {intent.id}: {told}", "INTENT_FAILED", details={"id": intent.id})
        _execute(connection, intents.DONE, (intent.id,))
        connection.commit()
        done += 1
        if on_done is not None:
            on_done(intent)
    _execute(connection, intents.FORGET)
    waiting = _row(connection, intents.WAITING)
    connection.commit()
    return Drained(done, tuple(failures), int(waiting[0]) if waiting else 0)


def _failed(connection: Any, intent: Intent, error: Exception) -> Failure:
    connection.rollback()
    told = redact(f"{type(error).__name__}: {error}")[:1000]
    _execute(connection, intents.FAILED, (told, intent.id))
    connection.commit()
    return Failure(intent.id, intent.order_key, told)


def _execute(connection: Any, sql: str, parameters: tuple[object, ...] = ()) -> Any:
    cursor = connection.cursor()
    cursor.execute(sql, parameters)
    return cursor


def _row(connection: Any, sql: str, parameters: tuple[object, ...] = ()) -> tuple[Any, ...] | None:
    cursor = _execute(connection, sql, parameters)
    row: tuple[Any, ...] | None = cursor.fetchone()
    cursor.close()
    return row
