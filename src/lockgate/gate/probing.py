"""Asking probes: all at once, each with a deadline of its own; one that raises or is late is down, never a crash."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from lockgate.gate.probe import Probe
from lockgate.gate.program import Down, Program
from lockgate.gate.report import FAIL, PASS, Answer, Condition
from lockgate.record.redact import redact, remember
from lockgate.record.words import counted

if TYPE_CHECKING:
    from lockgate.postgres.target import Target


NEXT = {
    "sql": "Run its statement with psql on this database, as this role.",
    "http": "Ask its url by hand from here: curl -i shows status and body.",
    "tcp": "Look whether something listens on its address, and whether it can be reached from here.",
    "file": "Look at the file, and at what writes it.",
    "redis": "Ask it by hand from here: redis-cli ping.",
    "command": "Run its command by hand, in this folder and with these variables.",
    "python": "Call it by hand, in this folder and with these variables.",
}
"""What to do about a probe that is down, by kind."""


def ask_probes(probes: Sequence[Probe], target: "Target | None" = None) -> tuple[Condition, ...]:
    """Ask every probe in a thread of its own and give one condition each, in the order of ``probes``.

    A thread that is late is left behind: it is a daemon, and its answer is thrown away.
    """
    asked = [_Asked(probe, target) for probe in probes]
    try:
        return tuple(one.condition() for one in asked)
    finally:  # a signal, too, leaves no program behind
        for one in asked:
            one.program.end()


class _Asked:
    def __init__(self, probe: Probe, target: "Target | None") -> None:
        self.probe = probe
        self.target = target
        self.begun = time.monotonic()
        self.told: str | None = None
        self.failure: BaseException | None = None
        self.program = Program()
        self.thread = threading.Thread(target=self._ask, name=f"lockgate-probe-{probe.name}", daemon=True)
        self.thread.start()

    def _ask(self) -> None:
        try:
            if self.probe.kind == "command":
                self.told = _command(self.probe, self.program)
            else:
                self.told = _KINDS[self.probe.kind](self.probe, self.target)
        except BaseException as error:
            self.failure = error

    def condition(self) -> Condition:
        self.thread.join(max(0.0, self.begun + self.probe.timeout - time.monotonic()))
        self.program.end()
        name, then = f"probe:{self.probe.name}", NEXT[self.probe.kind]
        if self.told is not None:
            return Condition(name, PASS, Answer.READY, redact(self.told))
        if isinstance(self.failure, Down):
            why, then = str(self.failure), self.failure.next or then
        elif self.failure is not None:
            why = f"the probe raised {type(self.failure).__name__}: {self.failure}"
        else:
            why = f"no answer within {self.probe.timeout:g} s"
            then += " Its timeout can be raised, too."
        return Condition(name, FAIL, Answer.PROBE_FAILED, redact(why)[:500], then)


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


def _command(probe: Probe, program: Program) -> str:
    words: Any = probe.settings["command"]
    code, said = program.run(list(words), probe.timeout)
    if code:
        raise Down(f"{words[0]} ended with {code}: {said}")
    return f"{words[0]} ended with 0"


def _python(probe: Probe, target: "Target | None") -> str:
    call: Any = probe.settings["call"]
    if isinstance(call, str):
        call = _named(call)
    answer = call()
    if answer is False:
        raise Down("the call gave False")
    return "the call returned"


def _named(text: str) -> Any:
    """What ``module:name`` means; the working directory is looked at last, so that nothing there stands before a library."""
    import os
    import sys
    from importlib import import_module

    module, _, name = text.partition(":")
    try:
        try:
            found = import_module(module)
        except ModuleNotFoundError:
            if os.getcwd() in sys.path:  # noqa: PTH109 - as sys.path has it
                raise
            sys.path.append(os.getcwd())  # noqa: PTH109
            found = import_module(module)
    except ModuleNotFoundError as error:
        raise Down(
            f"{text}: there is no module {error.name!r}",
            f"Install it in this image, or put it into {os.getcwd()} or on PYTHONPATH.",  # noqa: PTH109
        ) from None
    if not hasattr(found, name):
        raise Down(f"{text}: the module has no {name!r}", "Name a function of that module as module:name.")
    return getattr(found, name)


_KINDS: dict[str, Callable[[Probe, "Target | None"], str]] = {
    "sql": _sql,
    "http": _http,
    "tcp": _tcp,
    "file": _file,
    "redis": _redis,
    "python": _python,
}
