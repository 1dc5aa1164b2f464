"""Asking probes: all at once, each with a deadline of its own; one that raises or is late is down, never a crash."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from lockgate.gate.probe import Probe
from lockgate.gate.report import FAIL, PASS, Answer, Condition
from lockgate.record.redact import redact, remember
from lockgate.record.words import counted

if TYPE_CHECKING:
    from lockgate.postgres.target import Target


class Down(Exception):
    """The probe's answer is no; the message says what was seen."""


def ask_probes(probes: Sequence[Probe], target: "Target | None" = None) -> tuple[Condition, ...]:
    """Ask every probe in a thread of its own and give one condition each, in the order of ``probes``.

    A thread that is late is left behind: it is a daemon, and its answer is thrown away.
    """
    asked = [_Asked(probe, target) for probe in probes]
    return tuple(one.condition() for one in asked)


class _Asked:
    def __init__(self, probe: Probe, target: "Target | None") -> None:
        self.probe = probe
        self.target = target
        self.begun = time.monotonic()
        self.told: str | None = None
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._ask, name=f"lockgate-probe-{probe.name}", daemon=True)
        self.thread.start()

    def _ask(self) -> None:
        try:
            self.told = _KINDS[self.probe.kind](self.probe, self.target)
        except BaseException as error:
            self.failure = error

    def condition(self) -> Condition:
        self.thread.join(max(0.0, self.begun + self.probe.timeout - time.monotonic()))
        name = f"probe:{self.probe.name}"
        if self.told is not None:
            return Condition(name, PASS, Answer.READY, redact(self.told))
        if isinstance(self.failure, Down):
            why = str(self.failure)
        elif self.failure is not None:
            why = f"the probe raised {type(self.failure).__name__}: {self.failure}"
        else:
            why = f"no answer within {self.probe.timeout:g} s"
        return Condition(
            name,
            FAIL,
            Answer.PROBE_FAILED,
            redact(why)[:500],
            f"Look at what the {self.probe.kind} probe asks.",
        )


def _sql(probe: Probe, target: "Target | None") -> str:
    from lockgate.postgres.gate import ask
    from lockgate.postgres.sqlstate import ServerError

    if target is None:
        raise Down("a sql probe needs a database")
    try:
        reply = ask(target, str(probe.settings["sql"]), timeout=probe.timeout)
    except ServerError as error:
        raise Down(f"{error.sqlstate}: {error.message}") from None
    first = reply.rows[0][0] if reply.rows and reply.rows[0] else None
    expected = probe.settings.get("expect")
    if expected is not None and first != expected:
        raise Down(f"the first value is {first!r}, {expected!r} is expected")
    if expected is None and (not reply.rows or first in (None, "f")):
        raise Down("no row, null or false")
    return f"{counted(len(reply.rows), 'row')}"


def _http(probe: Probe, target: "Target | None") -> str:
    import http.client
    from urllib.parse import urlsplit

    url = urlsplit(str(probe.settings["url"]))
    remember(url.password)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise Down("the url is neither http nor https")
    make = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = make(url.hostname, url.port, timeout=probe.timeout)
    try:
        # Not followed: a redirect to a login page is no proof of anything.
        connection.request(
            "GET", (url.path or "/") + (f"?{url.query}" if url.query else ""), headers={"Connection": "close"}
        )
        with connection.getresponse() as response:
            body = response.read(65536).decode("utf-8", "replace")
    finally:
        connection.close()
    wanted = probe.settings.get("status")
    if response.status != wanted if wanted is not None else not 200 <= response.status < 300:
        raise Down(f"status {response.status}")
    text = probe.settings.get("contains")
    if text is not None and str(text) not in body:
        raise Down(f"status {response.status}, without {text!r} in its body")
    return f"status {response.status}"


def _tcp(probe: Probe, target: "Target | None") -> str:
    import socket

    host, _, port = str(probe.settings["address"]).rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=probe.timeout):
        return f"{host}:{port} accepts"


def _file(probe: Probe, target: "Target | None") -> str:
    from pathlib import Path

    path = str(probe.settings["path"])
    try:
        found = Path(path).stat()
    except OSError as error:
        raise Down(f"{path}: {error.strerror}") from None
    if not found.st_size:
        raise Down(f"{path} is empty")
    age = time.time() - found.st_mtime
    limit: Any = probe.settings.get("max_age")
    if limit is not None and age > limit:
        raise Down(f"{path} is {age:.0f} s old, {limit:g} s are allowed")
    return f"{path}: {found.st_size} bytes"


def _redis(probe: Probe, target: "Target | None") -> str:
    import contextlib
    import os
    import socket
    import ssl
    from urllib.parse import unquote, urlsplit

    variable = probe.settings.get("url_env")
    text = os.environ.get(str(variable), "") if variable else str(probe.settings["url"])
    if not text:
        raise Down(f"{variable} is not set")
    url = urlsplit(text)
    remember(url.password)
    host = url.hostname or "localhost"
    with contextlib.ExitStack() as open_:
        wire = open_.enter_context(socket.create_connection((host, url.port or 6379), timeout=probe.timeout))
        if url.scheme == "rediss":  # the TLS socket takes the descriptor over, so it has to be closed itself
            wire = open_.enter_context(ssl.create_default_context().wrap_socket(wire, server_hostname=host))
        if url.password:
            names = [unquote(url.username).encode()] if url.username else []
            _redis_say(wire, [b"AUTH", *names, unquote(url.password).encode()], b"+OK")
        _redis_say(wire, [b"PING"], b"+PONG")
    return "PONG"


def _redis_say(wire: Any, words: list[bytes], wanted: bytes) -> None:
    wire.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
    answer = b""
    while not answer.endswith(b"\r\n") and len(answer) < 512:
        more = wire.recv(512)
        if not more:
            raise Down("the server closed the connection")
        answer += more
    if answer.strip() != wanted:
        raise Down(f"{words[0].decode()} gave {answer.decode('utf-8', 'replace').strip()[:100]}")


def _command(probe: Probe, target: "Target | None") -> str:
    import contextlib
    import os
    import signal
    import subprocess

    words: Any = probe.settings["command"]
    # A session of its own: what is late is ended with everything that it has started.
    with subprocess.Popen(
        list(words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            _, err = process.communicate(timeout=probe.timeout)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise Down(f"{words[0]} did not end within {probe.timeout:g} s") from None
    if process.returncode:
        said = err.decode("utf-8", "replace").strip()[-200:]
        raise Down(f"{words[0]} ended with {process.returncode}: {said}")
    return f"{words[0]} ended with 0"


def _python(probe: Probe, target: "Target | None") -> str:
    call: Any = probe.settings["call"]
    if isinstance(call, str):
        from importlib import import_module

        module, _, name = call.partition(":")
        call = getattr(import_module(module), name)
    answer = call()
    if answer is False:
        raise Down("the call gave False")
    return "the call returned"


_KINDS: dict[str, Callable[[Probe, "Target | None"], str]] = {
    "sql": _sql,
    "http": _http,
    "tcp": _tcp,
    "file": _file,
    "redis": _redis,
    "command": _command,
    "python": _python,
}
