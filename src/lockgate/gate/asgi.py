"""ASGI middleware: `app = GateASGI(app, gate)`. Starlette, FastAPI, Quart, Django's ASGI application."""

import os
from collections.abc import Awaitable, Callable, MutableMapping
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
    from lockgate.gate.queueing import WriteQueue

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class GateASGI:
    """Lets requests through while ``gate`` is open, answers 503 with ``Retry-After`` while it is not.

    ``/livez``, ``/readyz`` and ``/startupz`` (under ``prefix``) are answered here. Details go to those for whom
    ``details(scope)`` is true; without it, to the bearer of ``LOCKGATE_HEALTH_TOKEN``. ``read_only_status`` is what a write
    gets in read-only mode, 503 or 423; with a ``queue`` one that bears an ``Idempotency-Key`` is queued. The gate is started at the application's start-up, or by the first request.
    """

    def __init__(
        self,
        app: Application,
        gate: Gate,
        *,
        prefix: str = "",
        details: Callable[[Scope], bool] | None = None,
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
            elif scope["method"] in SAFE_METHODS:
                await self.app(scope, receive, send)
            else:
                await self._write(scope, receive, send)
        elif kind == "websocket" and not gate.open:
            await receive()
            await send({"type": "websocket.close", "code": 1013, "reason": "GATE_CLOSED"})
        elif kind == "lifespan":
            await self.app(scope, receive, self._stopping(send))
        else:
            await self.app(scope, receive, send)

    async def _write(self, scope: Scope, receive: Receive, send: Send) -> None:
        gate = self.gate
        if gate.guard is not None and not gate.guard.open:
            await _reply(send, other_schema(gate, details=self._details(scope)))
        elif self.queue is not None and (gate.read_only is not None or gate.intents):
            await self._queue(self.queue, scope, receive, send)
        elif gate.read_only is not None:
            await _reply(send, read_only(gate, self.read_only_status))
        else:
            await self.app(scope, receive, send)

    async def _queue(self, queue: "WriteQueue", scope: Scope, receive: Receive, send: Send) -> None:
        import asyncio

        from lockgate.gate.queueing import Request

        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        request = Request(
            scope["method"], scope["path"], scope.get("query_string", b"").decode("latin-1"), headers
        )
        heard: list[Message] = []
        if queue.wants(self.gate, request):
            body = b""
            while len(body) <= queue.max_body:
                message = await receive()
                if message["type"] != "http.request":
                    return  # the sender is gone, and half a write is none
                heard.append(message)
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    break
            # Asking the database blocks, and the loop has other requests.
            answer = await asyncio.to_thread(queue.answer, self.gate, request, body)
        else:
            answer = None if self.gate.read_only is None else read_only(self.gate, self.read_only_status)
        if answer is not None:
            await _reply(send, answer)
            return

        async def again() -> Message:
            return heard.pop(0) if heard else await receive()

        await self.app(scope, again, send)

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
