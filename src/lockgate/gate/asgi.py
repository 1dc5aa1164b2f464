"""ASGI middleware: `app = GateASGI(app, gate)`. Starlette, FastAPI, Quart, Django's ASGI application."""

import os
from collections.abc import Awaitable, Callable, MutableMapping
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

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class GateASGI:
    """Lets requests through while ``gate`` is open, answers 503 with ``Retry-After`` while it is not.

    ``/livez``, ``/readyz`` and ``/startupz`` (under ``prefix``) are answered here. Details go to those for whom
    ``details(scope)`` is true; without it, to the bearer of ``LOCKGATE_HEALTH_TOKEN``. ``read_only_status`` is what a write
    gets in read-only mode, 503 or 423. The gate is started at the application's start-up, or by the first request.
    """

    def __init__(
        self,
        app: Application,
        gate: Gate,
        *,
        prefix: str = "",
        details: Callable[[Scope], bool] | None = None,
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        kind, gate = scope["type"], self.gate
        if gate.pid != os.getpid() or gate._thread is None:
            gate.start()
        if kind == "http":
            path = scope["path"]
            if path in self._paths:
                await _reply(send, self._health(self._paths[path], scope))
            elif not gate.open:
                await _reply(send, closed(gate))
            elif gate.read_only is not None and scope["method"] not in SAFE_METHODS:
                await _reply(send, read_only(gate, self.read_only_status))
            else:
                await self.app(scope, receive, send)
        elif kind == "websocket" and not gate.open:
            await receive()
            await send({"type": "websocket.close", "code": 1013, "reason": "GATE_CLOSED"})
        elif kind == "lifespan":
            await self.app(scope, receive, self._stopping(send))
        else:
            await self.app(scope, receive, send)

    def _stopping(self, send: Send) -> Send:
        """``send`` that stops the gate before the server hears that all is shut down: after that nothing runs any more."""

        async def told(message: Message) -> None:
            if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                await _in_thread(self.gate.stop)
            await send(message)

        return told

    def _health(self, name: str, scope: Scope) -> Answer:
        if name == "livez":
            return livez()
        allowed = self._details(scope)
        return (readyz if name == "readyz" else startupz)(self.gate, details=allowed)

    def _bears_token(self, scope: Scope) -> bool:
        found = dict(scope["headers"]).get(b"authorization", b"")
        return token_allows(self._token, found.decode("latin-1"))


async def _reply(send: Send, answer: Answer) -> None:
    headers = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _in_thread(call: Callable[[], None]) -> None:
    import asyncio

    await asyncio.to_thread(call)
