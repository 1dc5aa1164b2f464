"""Stores under test: each of them real, each with the specification that it takes."""

import importlib.util
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from lockgate.postgres.link import Link
from lockgate.postgres.target import Target
from lockgate.stores.content import Record
from lockgate.stores.manifest import Embedding, Manifest
from lockgate.stores.open_search import open_search
from lockgate.stores.searching import SearchStore
from lockgate.stores.vectors import single

WORDS = [
    "canal",
    "lock",
    "gate",
    "water",
    "barge",
    "bridge",
    "harbour",
    "crane",
    "rope",
    "anchor",
    "tide",
    "river",
    "mill",
    "weir",
    "sluice",
]


class Bench(NamedTuple):
    """A store with a specification, another one that it must tell apart, records and a question for one of them."""

    kind: str
    store: SearchStore
    spec: Manifest
    other: Manifest
    records: list[Record]
    question: Callable[[Record], object]


def vector_spec(
    dimension: int = 8, *, metric: str = "cosine", model: str = "m", ann: str = "flat", dtype: str = "float32"
) -> Manifest:
    """The specification of a vector index."""
    return Manifest("vector", Embedding("given", model, dimension, dtype=dtype), metric, ann={"type": ann})


def make_records(count: int, dimension: int = 8, seed: int = 1) -> list[Record]:
    """Records with unit vectors and texts; ids hold what ids may hold."""
    rng = random.Random(seed)
    made = []
    for n in range(count):
        raw = [rng.gauss(0, 1) for _ in range(dimension)]
        length = sum(x * x for x in raw) ** 0.5
        text = " ".join(rng.choice(WORDS) for _ in range(6)) + f" unique{n}"
        made.append(Record(f"dö'c-{n}", text, f'{{"n":{n}}}', single([x / length for x in raw])))
    return made


@pytest.fixture
def link(database: str) -> Iterator[Link]:
    """A session on a fresh database."""
    found = Link(Target(database, source="test"), "indexes")
    yield found
    found.close()


KINDS = ["pgvector", "pgvector-half", "fts", "fts5", "pointer", "pointer-faiss", "qdrant"]


@pytest.fixture(params=KINDS)
def bench(request: pytest.FixtureRequest, link: Link, tmp_path: Path) -> Iterator[Bench]:
    """Each kind of store in turn."""
    kind = request.param
    needs = {"pointer-faiss": "faiss", "qdrant": "qdrant_client"}.get(kind)
    if needs and importlib.util.find_spec(needs) is None:
        pytest.skip(f"{needs} is not installed")
    if kind.startswith("pgvector") and not link.rows(
        "SELECT 1 FROM pg_available_extensions WHERE name = 'vector'"
    ):
        pytest.skip("this server has no pgvector")
    base = kind.partition("-")[0]
    place = {
        "fts5": str(tmp_path / "words.db"),
        "pointer": str(tmp_path / "files"),
        "qdrant": str(tmp_path / "q"),
    }.get(base, "")
    store = open_search(base, place, link)
    if base in ("fts", "fts5"):
        analyzers = ("english", "simple") if base == "fts" else ("porter unicode61", "unicode61")
        spec, other = (Manifest("text", analyzer=a) for a in analyzers)
        yield Bench(kind, store, spec, other, make_records(60), lambda r: r.text.split()[-1])
    else:
        ann = {"pgvector": "hnsw", "pgvector-half": "hnsw", "pointer-faiss": "hnsw"}.get(kind, "flat")
        dtype = "float16" if kind.endswith("half") else "float32"
        spec, other = vector_spec(ann=ann, dtype=dtype), vector_spec(ann=ann, dtype=dtype, metric="l2")
        yield Bench(kind, store, spec, other, make_records(60), lambda r: r.vector)
    store.close()
