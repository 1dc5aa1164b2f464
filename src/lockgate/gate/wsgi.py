"""WSGI middleware: `app = GateWSGI(app, gate)`. Flask, Django, any WSGI application."""

import os
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from lockgate.gate.health import (
    SAFE_METHODS,
    Answer,
    closed,
    livez,
    read_only,
    readyz,
    startupz,
    token_allows,
)
from lockgate.gate.service import Gate

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
    ) -> None:
        self.app = app
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
        if gate.read_only is not None and request.get("REQUEST_METHOD", "GET") not in SAFE_METHODS:
            return _reply(start_response, read_only(gate, self.read_only_status))
        return self.app(request, start_response)

    def _health(self, name: str, request: Environ) -> Answer:
        if name == "livez":
            return livez()
        allowed = self._details(request)
        return (readyz if name == "readyz" else startupz)(self.gate, details=allowed)

    def _bears_token(self, request: Environ) -> bool:
        return token_allows(self._token, request.get("HTTP_AUTHORIZATION", ""))


def _reply(start_response: StartResponse, answer: Answer) -> list[bytes]:
    headers = [(k.title(), v) for k, v in answer.headers]
    start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", headers)
    return [answer.body]
