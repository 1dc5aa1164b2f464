"""Queueing writes in read-only mode instead of refusing them: ``GateASGI(app, gate, queue=WriteQueue(...))``.

A write that bears an ``Idempotency-Key`` is put into the database and answered 202; afterwards ``drain`` (draining.py) does
it. While anything is queued, later writes of the same order key are queued behind it, also once read-only mode is off, and
a repeat of a write that is done is told so instead of being done again.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from lockgate.errors import LockgateError, Refused
from lockgate.gate.checking import target_of
from lockgate.gate.health import Answer, answer_json, refused, retry_after_of
from lockgate.postgres.intents import Placed, place
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.wire import Cancelled

if TYPE_CHECKING:
    from lockgate.gate.service import Gate
    from lockgate.postgres.target import Target

LONGEST_KEY = 255


class Request(NamedTuple):
    """A write as it came in: the path with its query apart, header names in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]

    @property
    def idempotency_key(self) -> str:
        """The caller's ``Idempotency-Key``, "" without one."""
        return self.headers.get("idempotency-key", "").strip().strip('"')


class WriteQueue:
    """Where writes wait while read-only mode is on.

    ``principal(request)`` says whose write it is, None for one that nobody may queue: the queue stands in front of the
    application, so this is where a token is checked. ``order_key(request)`` names what has to stay in order (the path unless
    given). ``most`` writes wait at most; a body is at most ``max_body`` bytes. ``timeout`` is in seconds.
    """

    def __init__(
        self,
        database: "str | Target",
        *,
        principal: Callable[[Request], str | None],
        order_key: Callable[[Request], str] = lambda request: request.path,
        most: int = 10_000,
        max_body: int = 65_536,
        timeout: float = 5.0,
    ) -> None:
        self.target = target_of(database)
        self.most = most
        self.max_body = max_body
        self.timeout = timeout
        self._principal = principal
        self._order_key = order_key

    def put(
        self,
        kind: str,
        payload: Mapping[str, Any],
        *,
        idempotency_key: str,
        order_key: str = "",
        principal: str = "",
    ) -> Placed:
        """Queue a write of one's own making. ``state`` ``open`` means: nothing is in the way, do it now.

        The same key with another ``kind`` or ``payload`` gives ``conflict``. Raises ``ConfigError`` for a key that is empty or
        too long, ``LockgateError`` where the database cannot take it.
        """
        if not idempotency_key or len(idempotency_key) > LONGEST_KEY or "\0" in idempotency_key:
            raise Refused(f"an idempotency key has 1 to {LONGEST_KEY} characters", "USAGE")
        text = json.dumps(payload, sort_keys=True)
        intent = {
            "principal": principal, "idempotency_key": idempotency_key, "order_key": order_key or kind, "kind": kind,
            "payload": payload, "digest": hashlib.sha256(f"{kind}\n{text}".encode()).hexdigest(),
        }  # fmt: skip
        try:
            return place(self.target, intent, most=self.most, timeout=self.timeout)
        except ServerError as error:
            code = {"42501": "PRIVILEGE", "42883": "HOME_OLDER", "3F000": "HOME_OLDER"}.get(
                error.sqlstate, "INTENT_FAILED"
            )
            raise Refused(f"the write could not be queued: {error.sqlstate}: {error.message}", code) from None
        except Cancelled as error:
            raise Refused(f"the write could not be queued: {error}", "INTENT_FAILED") from None

    # -- HTTP ---------------------------------------------------------------------------------------

    def wants(self, gate: "Gate", request: Request) -> bool:
        """True when the database has to be asked about this write."""
        return (gate.read_only is not None or gate.intents) and bool(request.idempotency_key)

    def answer(self, gate: "Gate", request: Request, body: bytes) -> Answer | None:
        """Queue the request and say what its sender is told; None when the application may have it."""
        principal = self._principal(request)
        if principal is None or len(body) > self.max_body:
            return None if gate.read_only is None else refused(503, "READ_ONLY_MODE", retry_after_of(gate))
        try:
            placed = self.put(
                f"{request.method} {request.path}", _payload(request, body), idempotency_key=request.idempotency_key,
                order_key=self._order_key(request), principal=principal,
            )  # fmt: skip
        except LockgateError as error:
            return refused(503, error.code, retry_after_of(gate))
        return answer_of(placed, request.idempotency_key, retry_after_of(gate))


def answer_of(placed: Placed, key: str, retry_after: int) -> Answer | None:
    """What the sender of a write is told; None for one that the application may have."""
    if placed.state == "open":
        return None
    if placed.state == "full":
        return refused(503, "READ_ONLY_MODE", retry_after)
    if placed.state == "conflict":
        return refused(422, "IDEMPOTENCY_KEY_REUSED", retry_after)
    status = {"queued": 202, "held": 202, "done": 200, "discarded": 409}[placed.state]
    document = {"schemaVersion": "1", "status": placed.state, "intentId": placed.id, "idempotencyKey": key}
    return answer_json(status, document, retry_after)


def _payload(request: Request, body: bytes) -> dict[str, str]:
    """The request as JSON. Headers stay out, all but the type: among them are the caller's secrets."""
    try:
        text, encoding = body.decode(), "utf-8"
        if "\0" in text:
            raise ValueError
    except ValueError:
        text, encoding = base64.b64encode(body).decode(), "base64"
    return {
        "method": request.method, "path": request.path, "query": request.query,
        "contentType": request.headers.get("content-type", ""), "body": text, "encoding": encoding,
    }  # fmt: skip
