"""Embedders: texts → vectors. A deterministic one is built in; others are endpoints and packages, imported when used."""

import json
import math
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from lockgate.errors import ConfigError, Unreachable
from lockgate.indexes.hashing import HashingEmbedder
from lockgate.record.redact import redact, remember
from lockgate.stores.canonical import digest_of
from lockgate.stores.manifest import Embedding
from lockgate.stores.vectors import packed, single, unpacked

CANARIES = (
    "The gates of the lock open only when the levels are equal.",
    "0 1 2 3 5 8 13 21",
    "SELECT id FROM orders WHERE state = 'open'",
    "Öl, Äpfel und naïve Fjorde",
    "a",
)
"""Texts that are embedded at build and again later: another vector means another model, whatever its name."""
CANARY_COSINE = 0.9999


_LATER = (408, 409, 425, 429, 500, 502, 503, 504)
"""Answers after which trying again is right."""


class Embedder(Protocol):
    """Texts → vectors, always the same ones for the same text."""

    name: str
    revision: str
    dimension: int

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """The vectors of ``texts``, in their order. Raises ``Unreachable`` when the model does not answer."""


class HttpEmbedder:
    """An endpoint of the OpenAI kind (``POST {url}/embeddings``).

    A rate limit (429) and a server that is not there yet are waited for, as long as ``patience`` seconds, after what
    ``Retry-After`` says; nothing is ever counted as failed for good because of them.
    """

    def __init__(
        self,
        url: str,
        model: str,
        dimension: int = 0,
        *,
        key: str = "",
        patience: float = 300.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ConfigError(
                f"the embedder's URL is not http:// or https://: {redact(url)}",
                "USAGE",
                next="http=URL=MODEL",
            )
        remember(key)
        self._url = url.rstrip("/") + "/embeddings"
        self._headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {key}"} if key else {}
        )
        self.name, self.revision = model, ""
        self._patience, self._sleep, self._clock = patience, sleep, clock
        self.dimension = dimension or len(self.embed(["a"])[0])

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """See ``Embedder``."""
        body = json.dumps({"model": self.name, "input": list(texts)}).encode()
        deadline, pause = self._clock() + self._patience, 0.5
        while True:
            status, text, after = self._post(body)
            if status == 200:
                return self._read(text, len(texts))
            if status and status not in _LATER:
                raise Unreachable(f"the embedder {self.name} refuses: status {status}", "EMBEDDER_FAILED")
            wait = float(after) if re.fullmatch(r"[0-9]{1,6}(\.[0-9]+)?", after) else pause
            if self._clock() + wait > deadline:
                said = f"status {status}" if status else text
                raise Unreachable(f"the embedder {self.name} does not answer: {said}", "EMBEDDER_FAILED")
            self._sleep(wait)
            pause = min(pause * 2, 30.0)

    def _post(self, body: bytes) -> tuple[int, str, str]:
        """Status, text and Retry-After of one request; status 0 where there was no answer, with what happened as text."""
        from http.client import HTTPException
        from urllib import error, request

        try:
            with request.urlopen(request.Request(self._url, body, self._headers), timeout=60) as reply:  # noqa: S310 - http or https, see above
                return reply.status, reply.read().decode("utf-8", "replace"), ""
        except error.HTTPError as refusal:
            return refusal.code, "", refusal.headers.get("Retry-After") or ""
        except (OSError, HTTPException) as broken:
            return 0, type(broken).__name__, ""

    def _read(self, text: str, count: int) -> list[list[float]]:
        try:
            rows = json.loads(text)["data"]
            vectors = [[float(x) for x in row["embedding"]] for row in sorted(rows, key=lambda r: r["index"])]
        except (ValueError, KeyError, TypeError):
            raise Unreachable(
                f"the embedder {self.name} answers with something else", "EMBEDDER_FAILED"
            ) from None
        if len(vectors) != count:
            raise Unreachable(
                f"the embedder {self.name} gave {len(vectors)} vectors for {count} texts", "EMBEDDER_FAILED"
            )
        return vectors


class SentenceTransformer:
    """A model of sentence-transformers, from this machine only."""

    def __init__(self, model: str) -> None:
        try:
            from sentence_transformers import SentenceTransformer as Model
        except ImportError:
            raise ConfigError(
                "sentence-transformers is not installed", next="pip install sentence-transformers"
            ) from None
        self._model = Model(model, local_files_only=True)
        self.name, self.revision = model, ""
        self.dimension = int(self._model.get_sentence_embedding_dimension() or 0)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """See ``Embedder``."""
        return [[float(x) for x in row] for row in self._model.encode(list(texts), normalize_embeddings=True)]


class Cached:
    """An embedder with a cache by content in a SQLite file: what was embedded once is not asked for again."""

    def __init__(self, inner: Embedder, path: Path) -> None:
        self._inner = inner
        self.name, self.revision, self.dimension = inner.name, inner.revision, inner.dimension
        # Used by one thread at a time, but not always by the same.
        self._db = sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False)
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS vector (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"
        )
        # The model's name is not enough: the same name may serve another model tomorrow. Its canaries are the key.
        self._model = digest_of("lockgate:model:1", self.name, [_coarse(v) for v in inner.embed(CANARIES)])

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """See ``Embedder``."""
        keys = [digest_of("lockgate:text:1", self._model, text) for text in texts]
        found: dict[str, bytes] = {}
        for key in set(keys):
            row = self._db.execute("SELECT value FROM vector WHERE key = ?", (key,)).fetchone()
            if row:
                found[key] = row[0]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        if missing:
            made = self._inner.embed(list(missing.values()))
            rows = {key: packed(vector) for key, vector in zip(missing, made, strict=True)}
            self._db.execute("BEGIN")
            self._db.executemany("INSERT OR REPLACE INTO vector VALUES (?, ?)", rows.items())
            self._db.execute("COMMIT")
            found |= rows
        return [list(unpacked(found[key])) for key in keys]


def _coarse(vector: Sequence[float]) -> str:
    return ",".join(f"{x:.3f}".replace("-0.000", "0.000") for x in vector)


def open_embedder(text: str, key: str = "") -> Embedder:
    """The embedder that ``text`` names.

    ``hashing``, ``hashing:DIMENSION`` or ``hashing:DIMENSION:SEED``; ``minilm`` from its package; ``http=URL=MODEL``, with
    ``key`` as its bearer token; ``st=MODEL``. Raises ``ConfigError``.
    """
    if text == "minilm":
        from lockgate.indexes.minilm import MiniLM

        return MiniLM()
    kind, _, rest = text.partition("=")
    if kind == "http" and rest.count("=") >= 1:
        url, _, model = rest.rpartition("=")
        return HttpEmbedder(url, model, key=key)
    if kind == "st" and rest:
        return SentenceTransformer(rest)
    parts = text.split(":")
    if parts[0] == "hashing" and len(parts) <= 3 and all(p.isdigit() for p in parts[1:]):
        numbers = [int(p) for p in parts[1:]]
        if not numbers or 8 <= numbers[0] <= 16_000:
            return HashingEmbedder(*numbers) if numbers else HashingEmbedder(384)
    raise ConfigError(
        f"there is no embedder {text!r}",
        "USAGE",
        next="hashing[:DIMENSION[:SEED]], minilm, http=URL=MODEL or st=MODEL",
    )


def describe(embedder: Embedder, text: str, dtype: str = "float32") -> Embedding:
    """The manifest's words for an embedder that was opened by ``text``."""
    provider = text.partition("=")[0].partition(":")[0]
    return Embedding(provider, embedder.name, embedder.dimension, embedder.revision, dtype)


def same_canaries(before: Sequence[Sequence[float]], after: Sequence[Sequence[float]]) -> bool | None:
    """True when every canary points where it did; None where none were kept."""
    if not before:
        return None
    return len(before) == len(after) and all(_near(a, b) for a, b in zip(before, after, strict=True))


def _near(one: Sequence[float], other: Sequence[float]) -> bool:
    if len(one) != len(other):
        return False
    product = sum(a * b for a, b in zip(one, other, strict=True))
    length = math.hypot(*one) * math.hypot(*other)
    return product >= CANARY_COSINE * length if length else math.hypot(*one) == math.hypot(*other)


def batches(texts: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """``texts`` in pieces."""
    for start in range(0, len(texts), size):
        yield texts[start : start + size]


def embed_all(embedder: Embedder, texts: Sequence[str], size: int = 64) -> list[tuple[float, ...]]:
    """The vectors of any number of texts, as binary32 holds them."""
    return [single(v) for piece in batches(texts, size) for v in embedder.embed(piece)]
