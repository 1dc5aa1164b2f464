"""A wire that can be hurt: a relay on the loopback between a runner and PostgreSQL's socket."""

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self


class _Pair:
    """The two sockets of one connection. While ``flows`` is clear nothing is read from either."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.pumps = 2
        self.flows = threading.Event()
        self.flows.set()


class Relay:
    """Listens on 127.0.0.1 and passes everything on to the unix socket that ``upstream`` names at that moment.

    ``delay`` seconds are added to each piece, pieces are of at most ``slice`` bytes, and ``rate`` is in bytes a second,
    in both directions. A connection that has carried ``limit`` bytes from the server is reset, the first three times.
    """

    def __init__(
        self,
        upstream: Callable[[], str],
        *,
        delay: float = 0.0,
        slice: int = 65536,
        rate: float = 0.0,
        limit: int = 0,
    ) -> None:
        self._upstream = upstream
        self._delay = delay
        self._slice = slice
        self._rate = rate
        self._limit = limit
        self._resets = 3 if limit else 0
        self._ear = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._ear.getsockname()[1]
        self._lock = threading.Lock()
        self._pairs: list[_Pair] = []
        self._closed = threading.Event()
        self._open = threading.Event()
        self._open.set()
        self._cut_on_answer = False
        self.answers = threading.Event()
        """Set when the server answered after ``cut_on_answer``: that answer was swallowed."""
        self._threads: list[threading.Thread] = []
        self._run(self._accept)

    def url(self, dbname: str, *, password: str = "", **options: str) -> str:
        """The URL of ``dbname`` through this relay, as user ``postgres``."""
        query = "&".join(f"{k}={v}" for k, v in {"sslmode": "disable", **options}.items())
        secret = f":{password}" if password else ""
        return f"postgresql://postgres{secret}@127.0.0.1:{self.port}/{dbname}?{query}"

    # -- hurting --------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Reset every connection in both directions; new ones are served."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            _reset(pair.client)
            _reset(pair.server)
            pair.flows.set()

    def cut_on_answer(self) -> None:
        """From now on pass nothing back on the open connections, and reset them when the server has answered."""
        self.answers.clear()
        self._cut_on_answer = True

    def forget(self) -> None:
        """No answer is waited for any more."""
        self._cut_on_answer = False

    def freeze(self, *, newcomers: bool = False) -> None:
        """Half-open: what is connected stays so and nothing comes through; with ``newcomers`` new connections hang too."""
        with self._lock:
            for pair in self._pairs:
                pair.flows.clear()
        if newcomers:
            self._open.clear()

    def thaw(self) -> None:
        """Let everything flow again."""
        self._open.set()
        with self._lock:
            for pair in self._pairs:
                pair.flows.set()

    def close(self) -> None:
        """End the relay and all it carries."""
        self._closed.set()
        self._open.set()
        with contextlib.suppress(OSError):
            self._ear.shutdown(socket.SHUT_RDWR)
        self._ear.close()
        self.cut()
        for thread in self._threads:
            thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads = [t for t in self._threads if t.is_alive()]
        self._threads.append(thread)
        thread.start()

    # -- carrying -------------------------------------------------------------------------------------

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._ear.accept()
            except OSError:
                return
            self._run(self._connect, client)

    def _connect(self, client: socket.socket) -> None:
        self._open.wait()
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(self._upstream())
        except OSError:
            server.close()
            _reset(client)
            return
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = _Pair(client, server)
        with self._lock:
            self._pairs.append(pair)
        for down in (False, True):
            self._run(self._pump, pair, down)

    def _pump(self, pair: _Pair, down: bool) -> None:
        source, sink = (pair.server, pair.client) if down else (pair.client, pair.server)
        carried = 0
        try:
            while data := source.recv(self._slice):
                if down and self._cut_on_answer:
                    self._cut_on_answer = False
                    self.cut()
                    self.answers.set()
                    return
                pair.flows.wait()
                pause = self._delay + (len(data) / self._rate if self._rate else 0.0)
                if pause:
                    time.sleep(pause)  # this is the slowness under test, not a wait for something
                carried += len(data)
                if down and self._resets and carried > self._limit:
                    sink.sendall(data[: len(data) - (carried - self._limit)])
                    self._resets -= 1
                    _reset(sink)
                    return
                sink.sendall(data)
        except OSError:
            pass
        finally:
            # One end is gone: so is the other, as with a plain connection.
            for one in (source, sink):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            with self._lock:
                pair.pumps -= 1
                if pair in self._pairs:
                    self._pairs.remove(pair)
                last = not pair.pumps
            if last:
                source.close()
                sink.close()


def _reset(one: socket.socket) -> None:
    """Close with RST instead of FIN."""
    with contextlib.suppress(OSError):
        if one.family == socket.AF_INET:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RD)  # wakes the thread that reads
    one.close()


class Line:
    """Where a runner with the fault ``ask`` reports: ``wait`` for it, then ``answer``."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._ear = socket.socket(socket.AF_UNIX)
        self._ear.bind(path)
        self._ear.listen(8)
        self._held: list[socket.socket] = []

    def wait(self, seconds: float = 20.0) -> str:
        """The point at which the runner stands now. Raises ``TimeoutError``."""
        ready, _, _ = select.select([self._ear], [], [], seconds)
        if not ready:
            raise TimeoutError(f"no runner came to the point within {seconds} s")
        line, _ = self._ear.accept()
        self._held.append(line)
        line.settimeout(seconds)
        return line.makefile().readline().strip()

    def waiting(self, seconds: float) -> bool:
        """Whether a runner comes to the point within ``seconds``; it is not accepted yet."""
        return bool(select.select([self._ear], [], [], seconds)[0])

    def answer(self) -> None:
        """Let the runner go on."""
        for line in self._held:
            with contextlib.suppress(OSError):
                line.sendall(b"!")
            line.close()
        self._held.clear()

    def close(self) -> None:
        """Let everybody go and close."""
        self.answer()
        self._ear.close()
