"""A laboratory of collections, indexes and defects: the drift gate is tuned and tested on many of them, not on one.

Everything is made from a seed with numpy. A collection has texts, queries, judgements and vectors of a "model"; an
index is searched exactly or through a small approximate graph.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lockgate.indexes.gold import GoldSet, read_gold
from lockgate.indexes.runs import Run, make_run

Array = np.ndarray


class Collection(NamedTuple):
    """Documents, queries, judgements and vectors."""

    docs: dict[str, str]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]
    vectors: Array
    asked: Array

    @property
    def ids(self) -> list[str]:
        return list(self.docs)

    def write(self, folder: Path) -> GoldSet:
        """Write it in BEIR's layout and read it back as a gold set."""
        folder.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps({"_id": d, "title": "", "text": t}) for d, t in self.docs.items()]
        (folder / "corpus.jsonl").write_text("\n".join(lines) + "\n")
        lines = [json.dumps({"_id": q, "text": t}) for q, t in self.queries.items()]
        (folder / "queries.jsonl").write_text("\n".join(lines) + "\n")
        rows = [f"{q}\t{d}\t{g}" for q, many in self.qrels.items() for d, g in many.items()]
        (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(rows) + "\n")
        return read_gold(folder)


def unit(v: Array) -> Array:
    """Rows of length 1; a zero row stays zero."""
    length = np.linalg.norm(v, axis=1, keepdims=True)
    return v / np.where(length == 0, 1, length)


def topical(
    seed: int,
    documents: int,
    queries: int,
    *,
    topics: int = 30,
    dim: int = 256,
    words: int = 60,
    noise: float = 0.5,
) -> Collection:
    """Texts from a topic model; the "model" embeds word counts by a random projection (``dense`` of word vectors)."""
    rng = np.random.default_rng(seed)
    vocabulary = 3000
    word_topic = rng.dirichlet(np.full(vocabulary, 0.02), size=topics)
    mix = rng.dirichlet(np.full(topics, 0.12), size=documents)
    model = rng.normal(size=(vocabulary, dim)) + noise * 0
    docs, counts = {}, np.zeros((documents, vocabulary))
    for n in range(documents):
        drawn = rng.choice(vocabulary, size=words + int(rng.integers(0, words)), p=mix[n] @ word_topic)
        counts[n] = np.bincount(drawn, minlength=vocabulary)
        docs[f"d{n:05d}"] = " ".join(f"w{w}x" for w in drawn)
    idf = np.log((documents + 1) / ((counts > 0).sum(0) + 0.5))
    weighted = np.log1p(counts) * idf
    vectors = unit(weighted @ model)
    asked, texts, qrels = np.zeros((queries, vocabulary)), {}, {}
    sources = rng.choice(documents, size=queries, replace=documents < queries)
    for n, source in enumerate(sources):
        own = np.flatnonzero(counts[source])
        drawn = rng.choice(own, size=min(len(own), 6), replace=False)
        near = rng.choice(vocabulary, size=2, p=mix[source] @ word_topic)
        both = np.concatenate([drawn, near])
        asked[n] = np.bincount(both, minlength=vocabulary)
        texts[f"q{n}"] = " ".join(f"w{w}x" for w in both)
        likeness = mix @ mix[source]
        related = [d for d in np.argsort(-likeness)[:4] if likeness[d] > 0.6 * likeness[source]]
        qrels[f"q{n}"] = {f"d{source:05d}": 2, **{f"d{d:05d}": 1 for d in related if d != source}}
    return Collection(docs, texts, qrels, vectors, unit((asked * idf) @ model))


def clustered(seed: int, documents: int, queries: int, *, dim: int = 384, clusters: int = 40) -> Collection:
    """Dense vectors in clusters, as sentence encoders give them: all cosines high, small gaps. Texts name their cluster."""
    rng = np.random.default_rng(seed)
    # variance falls from the first components on, as in real encoders
    shape = 1 / np.sqrt(1 + np.arange(dim) / 40)
    centre = rng.normal(size=dim) * shape * 0.7
    homes = rng.normal(size=(clusters, dim)) * shape
    where = rng.integers(0, clusters, size=documents)
    raw = centre + homes[where] + 0.9 * rng.normal(size=(documents, dim)) * shape
    docs = {}
    for n in range(documents):
        local = rng.integers(0, 60, size=25)
        docs[f"doc-{n}"] = " ".join(f"c{where[n]}t{t}" for t in local) + f" n{n}a n{n}b n{n}c"
    sources = rng.choice(documents, size=queries, replace=documents < queries)
    asked = raw[sources] + 0.9 * rng.normal(size=(queries, dim)) * shape
    texts, qrels = {}, {}
    vectors, asked = unit(raw), unit(asked)
    for n, source in enumerate(sources):
        texts[f"{n}"] = f"n{source}a " + " ".join(
            f"c{where[source]}t{t}" for t in rng.integers(0, 60, size=5)
        )
        near = np.argsort(-(vectors @ vectors[source]))[:6]
        qrels[f"{n}"] = {f"doc-{d}": (2 if d == source else 1) for d in near}
    return Collection(docs, texts, qrels, vectors, asked)


def exact(
    c: Collection,
    k: int,
    *,
    vectors: Array | None = None,
    asked: Array | None = None,
    metric: str = "cosine",
    ids: list[str] | None = None,
    name: str = "run",
    order: Array | None = None,
) -> Run:
    """An exact search. ``order`` is an insertion order: it breaks ties."""
    v = c.vectors if vectors is None else vectors
    q = c.asked if asked is None else asked
    ids = c.ids if ids is None else ids
    scores = score(v, q, metric)
    if order is not None:
        scores, ids = scores[:, order], [ids[n] for n in order]
    listed = {}
    for n, qid in enumerate(c.queries):
        top = np.argsort(-scores[n], kind="stable")[:k]
        listed[qid] = [(ids[t], float(scores[n, t])) for t in top]
    return make_run(name, listed)


def score(v: Array, q: Array, metric: str) -> Array:
    """Scores, higher is better, in binary32 as stores compute them."""
    v, q = v.astype(np.float32), q.astype(np.float32)
    if metric == "ip":
        return q @ v.T
    if metric == "l2":
        return -np.sqrt(np.maximum(0, (q**2).sum(1)[:, None] + (v**2).sum(1)[None] - 2 * q @ v.T))
    if metric == "l1":
        return -np.stack([np.abs(v - one).sum(1) for one in q])
    return unit(q) @ unit(v).T


def approximate(c: Collection, k: int, *, miss: float, seed: int, clumps: bool = True) -> Run:
    """A search that misses a share of the answers, different ones for each query, some queries more than others."""
    rng = np.random.default_rng(seed)
    scores = score(c.vectors, c.asked, "cosine")
    listed = {}
    for n, qid in enumerate(c.queries):
        rate = miss * (rng.exponential(1.0) if clumps else 1.0)
        hidden = rng.random(scores.shape[1]) < rate
        row = np.where(hidden, -np.inf, scores[n])
        top = np.argsort(-row, kind="stable")[:k]
        listed[qid] = [(c.ids[t], float(row[t])) for t in top if row[t] > -np.inf]
    return make_run("approximate", listed)


def int8(v: Array, *, per_vector: bool = True) -> Array:
    """Rounded to 255 steps."""
    top = np.abs(v).max(axis=1, keepdims=True) if per_vector else np.abs(v).max()
    top = np.where(top == 0, 1, top)
    return np.round(v / top * 127) / 127 * top


def foreign(c: Collection, share: float, seed: int) -> Array:
    """A share of the vectors from another model of the same dimension: the same documents, rotated."""
    rng = np.random.default_rng(seed)
    dim = c.vectors.shape[1]
    turn, _ = np.linalg.qr(rng.normal(size=(dim, dim)))
    v = c.vectors.copy()
    which = rng.choice(len(v), size=max(1, round(share * len(v))), replace=False)
    v[which] = c.vectors[which] @ turn
    return v


def shuffled(c: Collection, share: float, seed: int) -> list[str]:
    """Ids of which a share went to other documents."""
    rng = np.random.default_rng(seed)
    ids = np.array(c.ids, dtype=object)
    which = rng.choice(len(ids), size=max(2, round(share * len(ids))), replace=False)
    ids[which] = ids[np.roll(which, 1)]
    return list(ids)


def without(c: Collection, share: float, seed: int, *, tail: bool = False) -> tuple[Array, list[str]]:
    """Vectors and ids with a share of the documents missing, at random or the newest."""
    rng = np.random.default_rng(seed)
    n = len(c.ids)
    count = max(1, round(share * n))
    gone = set(range(n - count, n)) if tail else set(rng.choice(n, size=count, replace=False).tolist())
    kept = [i for i in range(n) if i not in gone]
    return c.vectors[kept], [c.ids[i] for i in kept]


def lengths(c: Collection, seed: int) -> Array:
    """The vectors before normalisation: lengths spread as those of raw encoders."""
    rng = np.random.default_rng(seed)
    return c.vectors * rng.lognormal(0, 0.25, size=(len(c.vectors), 1))
