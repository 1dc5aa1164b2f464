"""What the gate costs: its import, and a request through the middleware against the bare application, pairs in one run."""

import asyncio
import statistics
import subprocess
import sys
import time
from types import SimpleNamespace

from lockgate.gate.asgi import GateASGI
from lockgate.gate.wsgi import GateWSGI

ROUNDS, CALLS = 15, 20_000


def over_bare(code: str, rounds: int = 15) -> float:
    """Milliseconds that ``code`` costs a bare interpreter, best of ``rounds``, in pairs."""

    def run(text: str) -> float:
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", text], check=True)
        return time.perf_counter() - begun

    pairs = [(run("pass"), run(code)) for _ in range(rounds)]
    return (min(b for _, b in pairs) - min(a for a, _ in pairs)) * 1000


def open_gate() -> SimpleNamespace:
    """What a request reads of a gate that is open."""
    import os

    return SimpleNamespace(
        pid=os.getpid(),
        _thread=object(),
        open=True,
        read_only=None,
        guard=None,
        intents=False,
        start=lambda: None,
    )


async def page(scope, receive, send):
    """An ASGI application that answers at once."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x"})


def wsgi_page(environ, start_response):
    """The same for WSGI."""
    start_response("200 OK", [])
    return [b"x"]


async def asgi(app) -> float:
    """Microseconds a request of ``app``."""
    scope = {"type": "http", "path": "/orders/7", "method": "POST", "headers": []}

    async def send(message):
        return None

    begun = time.perf_counter()
    for _ in range(CALLS):
        await app(scope, None, send)
    return (time.perf_counter() - begun) / CALLS * 1e6


def wsgi(app) -> float:
    """The same for WSGI."""
    environ = {"PATH_INFO": "/orders/7", "REQUEST_METHOD": "POST"}
    begun = time.perf_counter()
    for _ in range(CALLS):
        app(environ, lambda *_: None)
    return (time.perf_counter() - begun) / CALLS * 1e6


def main() -> None:
    """Print the figures."""
    gate = open_gate()
    pairs = [(asyncio.run(asgi(page)), asyncio.run(asgi(GateASGI(page, gate)))) for _ in range(ROUNDS)]
    print(f"ASGI  {statistics.median(b - a for a, b in pairs):.2f} µs a request over the bare application")
    pairs = [(wsgi(wsgi_page), wsgi(GateWSGI(wsgi_page, gate))) for _ in range(ROUNDS)]
    print(f"WSGI  {statistics.median(b - a for a, b in pairs):.2f} µs a request over the bare application")
    print(f"import lockgate.gate  {over_bare('import lockgate.gate'):.1f} ms over a bare interpreter")
    print(f"import dataclasses    {over_bare('import dataclasses'):.1f} ms, for comparison")


if __name__ == "__main__":
    main()
