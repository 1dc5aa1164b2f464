"""What a watch asks in tests: a service with a gauge, and a real Prometheus that scrapes it."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lockgate.config.release import Watch, WatchQuery
from lockgate.release.watch import ask
from support.processes import until

STRICT = bool(os.environ.get("LOCKGATE_TESTS_STRICT"))  # read before the fixtures clear the environment


class Measured:
    """A gauge: what stands in ``file`` (nothing: no such gauge), as Prometheus at ``url`` sees it."""

    def __init__(self, file: Path, gauge: str, url: str) -> None:
        self.file = file
        self.gauge = gauge
        self.url = url
        self.set(0.1)

    def set(self, value: float) -> None:
        """The value from now on."""
        self.file.write_text(str(value))

    def watch(self, **more: object) -> Watch:
        """Settings that watch the gauge, with one query ``errors``; a limit of 0.5 unless told otherwise."""
        settings = {"queries": {"errors": WatchQuery(self.gauge, max=0.5)}, **more}
        return Watch(prometheus_url=self.url, **settings)  # type: ignore[arg-type]

    def seen(self) -> float | None:
        """What Prometheus says now."""
        return ask(self.watch(), "errors", lambda: "t", time.monotonic).value


class Prometheus:
    """A Prometheus at ``url`` and the service that it scrapes. Its first look comes five seconds after its start, so tests share it."""

    def __init__(self, folder: Path, url: str) -> None:
        self.url = url
        self._folder = folder
        self._gauges: list[Measured] = []

    def text(self) -> str:
        """What the service answers: the gauge of the test that runs."""
        lines = ["up_and_answering 1\n"]
        for one in self._gauges[-1:]:
            if value := one.file.read_text():
                lines.append(f"# TYPE {one.gauge} gauge\n{one.gauge} {value}\n")
        return "".join(lines)

    def measured(self) -> Measured:
        """A new gauge, without a past, that Prometheus has seen."""
        number = len(self._gauges)
        gauge = Measured(self._folder / f"value-{number}", f"shop_error_rate_{number}", self.url)
        self._gauges.append(gauge)
        until(lambda: gauge.seen() is not None, 60)
        return gauge


@contextmanager
def prometheus(folder: Path) -> Iterator[Prometheus]:
    """A Prometheus and its service; skips where the machine has no Prometheus."""
    program = shutil.which("prometheus")
    if program is None:
        if STRICT:
            pytest.fail("no prometheus on this machine")
        pytest.skip("no prometheus on this machine (apt-get install prometheus)")
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as probe:
        port = probe.server_port
    made = Prometheus(folder, f"http://127.0.0.1:{port}")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = made.text().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            with suppress(OSError):  # a look that Prometheus gave up on
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        (folder / "prometheus.yml").write_text(
            f"global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\nscrape_configs: [{{job_name: shop, static_configs: [{{targets: ['127.0.0.1:{server.server_port}']}}]}}]\n"
        )
        process = subprocess.Popen(
            [
                program,
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield made
        finally:
            process.terminate()
            process.wait(20)
            server.shutdown()
            thread.join(5)
