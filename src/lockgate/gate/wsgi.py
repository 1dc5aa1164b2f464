"""WSGI middleware: `app = GateWSGI(app, gate)`. Flask, Django, any WSGI application."""

import os
from collections.abc import Callable, Iterable
from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING, Any

from lockgate.gate.health import (
    SAFE_METHODS,
    Answer,
    closed,
    livez,
    other_schema,
    read_only,
    readyz,
    startupz,
    token_allows,
)
from lockgate.gate.service import Gate

if TYPE_CHECKING:
    from lockgate.gate.queueing import Request, WriteQueue

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]


class GateWSGI:
    """Lets requests through while ``gate`` is open, answers 503 with ``Retry-After`` while it is not. As ``GateASGI``.

    The gate is started by the first request of each worker process, so that it lives on the right side of a fork; a
    server with a hook for it may call ``gate.start()`` earlier.
    """

    def __init__(
        self,
        app: Application,
        gate: Gate,
        *,
        prefix: str = "",
        details: Callable[[Environ], bool] | None = None,
        read_only_status: int = 503,
        queue: "WriteQueue | None" = None,
    ) -> None:
        self.app = app
        self.queue = queue
        self.gate = gate
        self.read_only_status = read_only_status
        self._paths = {
            f"{prefix}/livez": "livez",
            f"{prefix}/readyz": "readyz",
            f"{prefix}/startupz": "startupz",
        }
        self._token = os.environ.get("LOCKGATE_HEALTH_TOKEN", "")
        self._details = details or self._bears_token

    def __call__(self, request: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Handle one request."""
        gate = self.gate
        if gate.pid != os.getpid() or gate._thread is None:
            gate.start()
        path = request.get("PATH_INFO", "")
        if path in self._paths:
            return _reply(start_response, self._health(self._paths[path], request))
        if not gate.open:
            return _reply(start_response, closed(gate))
        if request.get("REQUEST_METHOD", "GET") not in SAFE_METHODS:
            refusal = self._refusal(request)
            if refusal is not None:
                return _reply(start_response, refusal)
        return self.app(request, start_response)

    def _refusal(self, request: Environ) -> Answer | None:
        """What the sender of a write is told in place of the application's answer; None where it may have the write."""
        gate = self.gate
        if gate.guard is not None and not gate.guard.open:
            return other_schema(gate, details=self._details(request))
        if self.queue is not None and (gate.read_only is not None or gate.intents):
            asked = _request(request)
            if self.queue.wants(gate, asked):
                return self.queue.answer(gate, asked, _body(request, self.queue.max_body))
        return None if gate.read_only is None else read_only(gate, self.read_only_status)

    def _health(self, name: str, request: Environ) -> Answer:
        if name == "livez":
            return livez()
        allowed = self._details(request)
        return (readyz if name == "readyz" else startupz)(self.gate, details=allowed)

    def _bears_token(self, request: Environ) -> bool:
        return token_allows(self._token, request.get("HTTP_AUTHORIZATION", ""))


def _request(call: Environ) -> "Request":
    from lockgate.gate.queueing import Request

    headers = {k[5:].replace("_", "-").lower(): v for k, v in call.items() if k.startswith("HTTP_")}
    headers["content-type"] = call.get("CONTENT_TYPE", "")
    return Request(call["REQUEST_METHOD"], call.get("PATH_INFO", ""), call.get("QUERY_STRING", ""), headers)


def _body(call: Environ, most: int) -> bytes:
    """The body, and put back for the application. One that is too long, or of unknown length, is left alone, and counts as longer than ``most``."""
    given = call.get("CONTENT_LENGTH") or "0"
    length = int(given) if given.isdigit() else most + 1
    if length > most or "HTTP_TRANSFER_ENCODING" in call:
        return b"x" * (most + 1)
    body: bytes = call["wsgi.input"].read(length) if length else b""
    call["wsgi.input"] = BytesIO(body)
    return body


def _reply(start_response: StartResponse, answer: Answer) -> list[bytes]:
    headers = [(k.title(), v) for k, v in answer.headers]
    start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", headers)
    return [answer.body]
