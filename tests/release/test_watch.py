"""The watch: what measurements amount to, and a real Prometheus that answers."""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lockgate.config.release import Watch, WatchQuery
from lockgate.errors import Refused
from lockgate.record.verdict import Verdict
from lockgate.release.budget import Budget
from lockgate.release.smoke import fetch
from lockgate.release.watch import ask, baseline_of, watch_release
from lockgate.release.watch_judge import Sample, judge_watch
from support import processes

STRICT = bool(os.environ.get("LOCKGATE_TESTS_STRICT"))  # read before the fixtures clear the environment
ERRORS = WatchQuery("errors", max=0.5)
NONE = float("nan")


def watch(query: WatchQuery = ERRORS, **changes) -> Watch:
    return Watch(
        **{
            "prometheus_url": "http://x",
            "queries": {"errors": query},
            "failure_limit": 1,
            "error_limit": 2,
            **changes,
        }
    )


def samples(*values: float | str | None) -> list[Sample]:
    return [
        Sample("t", "errors", error=v) if isinstance(v, str) else Sample("t", "errors", v) for v in values
    ]


CASES = [
    ("fine", watch(), (0.1, 0.2), {}, Verdict.PASS),
    ("one peak in the middle", watch(), (0.1, 0.9, 0.2), {}, Verdict.PASS),
    ("two peaks", watch(), (0.9, 0.1, 0.9, 0.1), {}, Verdict.FAIL),
    ("bad at the end", watch(), (0.1, 0.9), {}, Verdict.FAIL),
    ("nobody answers", watch(), ("refused",) * 3, {}, Verdict.HOLD),
    ("nobody answers for a moment", watch(), ("refused", 0.1, "refused", 0.1), {}, Verdict.PASS),
    ("nobody answers at the end", watch(), (0.1, "refused"), {}, Verdict.HOLD),
    ("no data", watch(), (None, None), {}, Verdict.HOLD),
    ("not a number", watch(), (NONE,), {}, Verdict.HOLD),
    (
        "no data where that is fine",
        watch(WatchQuery("e", max=1.0, on_empty="pass")),
        (None,),
        {},
        Verdict.PASS,
    ),
    ("below its least", watch(WatchQuery("up", min=1.0)), (0.0, 0.0), {}, Verdict.FAIL),
    (
        "within ten per cent",
        watch(WatchQuery("p95", max_increase_percent=10)),
        (1.05,),
        {"errors": 1.0},
        Verdict.PASS,
    ),
    (
        "above ten per cent",
        watch(WatchQuery("p95", max_increase_percent=10)),
        (1.2, 1.2),
        {"errors": 1.0},
        Verdict.FAIL,
    ),
    (
        "no baseline",
        watch(WatchQuery("p95", max_increase_percent=10)),
        (1.2,),
        {"errors": None},
        Verdict.HOLD,
    ),
    ("never looked at", watch(), (), {}, Verdict.HOLD),
]


@pytest.mark.parametrize(
    ("settings", "values", "baseline", "answer"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_verdict(settings: Watch, values: tuple, baseline: dict, answer: Verdict):
    """Pass only what told something and ended well; what cannot tell holds, and is never a pass."""
    verdict = judge_watch(settings, samples(*values), baseline, over=True)
    assert verdict is not None
    assert verdict.answer is answer


def test_over_early():
    """A watch that is lost already does not wait for its end; one that goes well does."""
    assert judge_watch(watch(), samples(0.9), {}, over=False) is None
    assert judge_watch(watch(), samples(0.1), {}, over=False) is None
    early = judge_watch(watch(), samples(0.9, 0.9), {}, over=False)
    assert early is not None
    assert early.answer is Verdict.FAIL


@pytest.fixture
def metrics() -> Iterator[dict]:
    """A service with a gauge that the test sets."""
    state = {"value": 0.1, "port": 0}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = f"# TYPE shop_error_rate gauge\nshop_error_rate {state['value']}\n".encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state["port"] = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def prometheus(metrics: dict, tmp_path: Path) -> Iterator[str]:
    """A real Prometheus that scrapes that service; skipped where the machine has none."""
    program = shutil.which("prometheus")
    if program is None:
        if STRICT:
            pytest.fail("no prometheus on this machine")
        pytest.skip("no prometheus on this machine (apt-get install prometheus)")
    (tmp_path / "prometheus.yml").write_text(
        f"global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\nscrape_configs: [{{job_name: shop, static_configs: [{{targets: ['127.0.0.1:{metrics['port']}']}}]}}]\n"
    )
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as probe:
        port = probe.server_port
    process = subprocess.Popen(
        [
            program,
            f"--config.file={tmp_path}/prometheus.yml",
            f"--storage.tsdb.path={tmp_path}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        settings = Watch(prometheus_url=url, queries={"errors": WatchQuery("shop_error_rate", max=0.5)})
        processes.until(lambda: ask(settings, "errors", lambda: "t", _clock).value is not None, 60)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def _clock() -> float:
    import time

    return time.monotonic()


def test_against_prometheus(prometheus: str, metrics: dict):
    """A real Prometheus: a quiet watch passes against its baseline, a jump of the measurement fails it, a wrong query cannot tell."""
    settings = Watch(
        prometheus_url=prometheus, interval="100ms", failure_limit=0, error_limit=1,
        queries={"errors": WatchQuery("shop_error_rate", max_increase_percent=50)},
    )  # fmt: skip
    baseline = baseline_of(settings, lambda: "t", Budget("proof", 60, None))
    assert baseline == {"errors": 0.1}
    quiet = watch_release(settings, 0.5, baseline, Budget("watch", 60, None), lambda: "t")
    assert quiet.verdict.answer is Verdict.PASS
    assert len(quiet.samples) >= 2
    metrics["value"] = 0.9
    jumped = watch_release(settings, 30.0, baseline, Budget("watch", 60, None), lambda: "t")
    assert jumped.verdict.answer is Verdict.FAIL
    assert jumped.seconds < 20
    wrong = Watch(
        prometheus_url=prometheus,
        interval="50ms",
        error_limit=1,
        queries={"errors": WatchQuery("sum(", max=1.0)},
    )
    assert (
        watch_release(wrong, 30.0, {}, Budget("watch", 60, None), lambda: "t").verdict.answer is Verdict.HOLD
    )
    # A watch that could only hold later stops the release before anything is touched.
    with pytest.raises(Refused, match="cannot be asked") as refused:
        baseline_of(wrong, lambda: "t", Budget("proof", 60, None))
    assert (refused.value.code, refused.value.exit) == ("WATCH_HELD", 5)
    assert fetch(prometheus + "/-/ready", {}, 5, lambda: "t", _clock).status == 200
