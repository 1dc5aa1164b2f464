"""Stores under test: each of them real, each with the specification that it takes."""

import importlib.util
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from indexes.lives import GOLD
from lockgate.postgres.link import Link
from lockgate.postgres.target import Target
from lockgate.stores.content import Record
from lockgate.stores.manifest import Embedding, Manifest
from lockgate.stores.open_search import open_search
from lockgate.stores.searching import SearchStore
from lockgate.stores.vectors import single
from support.calls import Project
from support.chroma import chroma_server, emptied
from support.search_double import search_double


@pytest.fixture(autouse=True)
def imported(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing these takes longer than most commands. The clients of heavy stores start threads of their own and come without them."""
    if not request.node.get_closest_marker("heavy"):
        monkeypatch.setattr(Project, "modules", ("numpy", "faiss", "qdrant_client"))


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


LIGHT = [
    "pgvector",
    "pgvector-half",
    "fts",
    "fts5",
    "pointer",
    "pointer-faiss",
    "qdrant",
    "opensearch",
    "opensearch-flat",
    "opensearch-text",
    "elasticsearch",
    "elasticsearch-flat",
    "elasticsearch-text",
]
STRICT = bool(os.environ.get("LOCKGATE_TESTS_STRICT"))  # read before the fixtures clear the environment
HEAVY = ["lancedb", "lancedb-half", "lancedb-flat", "chroma", "milvus", "milvus-flat"]
"""Kinds whose clients weigh half a gigabyte each: run by `make heavy`, which .ci/run calls."""
KINDS = [*LIGHT, *(pytest.param(kind, marks=pytest.mark.heavy) for kind in HEAVY)]
NEEDS = {"pointer-faiss": "faiss", "qdrant": "qdrant_client", "lancedb": "lancedb", "chroma": "chromadb", "milvus": "pymilvus"}  # fmt: skip


def place_of(base: str, folder: Path, request: pytest.FixtureRequest) -> str:
    """Where a kind of store lives in this test."""
    if base == "chroma":
        return str(request.getfixturevalue("chroma_url"))
    if base in DOUBLES:
        return str(request.getfixturevalue(f"{base}_url"))
    files = {"fts5": "words.db", "pointer": "files", "qdrant": "q", "lancedb": "lance", "milvus": "milvus.db"}
    return str(folder / files[base]) if base in files else ""


DOUBLES = {"opensearch": "3.2.0", "elasticsearch": "9.2.0"}
"""Kinds that run against a double on loopback, and the version that it says it is."""


@pytest.fixture
def opensearch_url() -> Iterator[str]:
    """A double of OpenSearch."""
    with search_double("opensearch", DOUBLES["opensearch"]) as (url, _):
        yield url


@pytest.fixture
def elasticsearch_url() -> Iterator[str]:
    """A double of Elasticsearch."""
    with search_double("elasticsearch", DOUBLES["elasticsearch"]) as (url, _):
        yield url


@pytest.fixture(scope="session")
def chroma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Chroma server on loopback, for all tests of this process."""
    with chroma_server(tmp_path_factory.mktemp("chroma")) as url:
        yield url


@pytest.fixture
def chroma_url(chroma: str) -> str:
    """The URL of a Chroma server that holds nothing."""
    return emptied(chroma)


@pytest.fixture(params=KINDS)
def bench(request: pytest.FixtureRequest, link: Link, tmp_path: Path) -> Iterator[Bench]:
    """Each kind of store in turn."""
    kind = request.param
    base = kind.partition("-")[0]
    needs = NEEDS.get(kind, NEEDS.get(base))
    if needs and importlib.util.find_spec(needs) is None:
        assert not (STRICT and kind in HEAVY), f"{needs} has to be installed here"
        pytest.skip(f"{needs} is not installed")
    if kind.startswith("pgvector") and not link.rows(
        "SELECT 1 FROM pg_available_extensions WHERE name = 'vector'"
    ):
        pytest.skip("this server has no pgvector")
    store = open_search(base, place_of(base, tmp_path, request), link)
    if base in ("fts", "fts5") or kind.endswith("-text"):
        analyzers = {"fts": ("english", "simple"), "fts5": ("porter unicode61", "unicode61")}.get(base, ("english", "standard"))  # fmt: skip
        spec, other = (Manifest("text", analyzer=a) for a in analyzers)
        yield Bench(kind, store, spec, other, make_records(60), lambda r: r.text.split()[-1])
    else:
        graphs = (
            "pgvector",
            "pgvector-half",
            "pointer-faiss",
            "lancedb",
            "lancedb-half",
            "chroma",
            "milvus",
            "opensearch",
            "elasticsearch",
        )
        ann = "hnsw" if kind in graphs else "flat"
        dtype = "float16" if kind.endswith("half") else "float32"
        spec, other = vector_spec(ann=ann, dtype=dtype), vector_spec(ann=ann, dtype=dtype, metric="l2")
        yield Bench(kind, store, spec, other, make_records(60), lambda r: r.vector)
    store.close()


@pytest.fixture
def swapped(tmp_path: Path, database: str) -> Project:
    """A project whose index was swapped from 0001 to 0002, its float16 copy."""
    project = Project(tmp_path, database)
    build = (
        "index",
        "build",
        "help",
        "--records",
        str(GOLD / "corpus.jsonl"),
        "--embedder",
        "hashing:256",
        "--ann",
        "hnsw:m=16,ef_construction=64",
    )
    project.ok("index", *build)
    project.ok("index", "index", "swap", "help", "--to", "0001")
    project.ok("index", *build, "--dtype", "float16")
    project.ok("index-validate", "index", "validate", "help", "--against", "0001", "--gold", str(GOLD))
    project.ok("index", "index", "swap", "help", "--to", "0002")
    return project
