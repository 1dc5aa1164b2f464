"""Figures of indexes in pgvector, each against its peer in the same run: medians of pairs.

``python bench/indexes.py [ROWS] [PAIRS]``: the content root against reading the column, and a build against COPY in one piece:
into the same table, and into one that keeps no digests, with the same graph.
``python bench/indexes.py into [ROWS] [PAIRS]``: a move into an index against a loader that carries vectors as text, and
against the move's own calls without what a move keeps. Over 50,000 rows no graph is built.
"""

import os
import random
import statistics
import struct
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from lockgate.indexes.build import Wanted, build
from lockgate.indexes.moving import drive as moving
from lockgate.indexes.moving.opened import opened_index
from lockgate.indexes.records import as_vector
from lockgate.moves.dual import drive as dual
from lockgate.moves.dual.copy import backfill
from lockgate.moves.dual.into import IndexMove, parse_index, source_side
from lockgate.moves.dual.pair import Urls
from lockgate.postgres.embedded import Embedded
from lockgate.postgres.home import bring_up
from lockgate.postgres.link import Link
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from lockgate.stores.content import Record
from lockgate.stores.manifest import Embedding, Manifest
from lockgate.stores.pgvector import PgVector

DIMENSION = 384
READ = "SELECT sum(octet_length(vector_send(embedding))) FROM lockgate_index.d__{}"
FILL = (
    "INSERT INTO lockgate_index.d__big (id, text, embedding) SELECT 'd' || g, 'text ' || g, "
    "(SELECT array_agg(hashint4(g * 384 + i)::real / 2147483648.0) FROM generate_series(1, 384) i)::vector FROM generate_series(1, $1::int) g"
)


class Spent(NamedTuple):
    """Seconds by the clock, and of processor time: of this process, and of the server with all its sessions."""

    clock: float
    ours: float = 0.0
    servers: float = 0.0

    @property
    def processor(self) -> float:
        """Of both together: what says something on a machine that others work on."""
        return self.ours + self.servers

    def __add__(self, other: object) -> "Spent":
        assert isinstance(other, Spent)
        return Spent(self.clock + other.clock, self.ours + other.ours, self.servers + other.servers)


def timed(work) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def spent(postmaster: int, work) -> Spent:
    """What ``work`` costs. Linux only: the server's part is read from /proc."""
    before = server_seconds(postmaster)
    begin, own = time.perf_counter(), time.process_time()
    work()
    clock, own = time.perf_counter() - begin, time.process_time() - own
    return Spent(clock, own, server_seconds(postmaster) - before)


def server_seconds(postmaster: int) -> float:
    """Processor time of a server: its first process with those that ended, and those that live."""
    tick = os.sysconf("SC_CLK_TCK")

    def stat(pid: int) -> tuple[int, float]:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            return 0, 0.0
        return int(fields[1]), sum(map(int, fields[11:15])) / tick

    while True:
        time.sleep(0.2)  # sessions that were closed a moment ago end
        own = stat(postmaster)[1]
        pids = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()]
        living = sum(seconds for parent, seconds in map(stat, pids) if parent == postmaster)
        if stat(postmaster)[1] == own:  # none ended between both looks, and was counted twice or not at all
            return own + living


def pairs(count: int, ours, theirs) -> tuple[float, float, float]:
    """Medians of both and of their ratio."""
    return medians([(timed(ours), timed(theirs)) for _ in range(count)])


def medians(seen: list[tuple[float, float]]) -> tuple[float, float, float]:
    """Medians of both and of their ratio."""
    return (
        statistics.median(a for a, _ in seen),
        statistics.median(b for _, b in seen),
        statistics.median(a / b for a, b in seen),
    )


def show(what: str, figures: tuple[float, float, float]) -> None:
    print(f"{what}: {figures[0]:.3f} s against {figures[1]:.3f} s, ratio {figures[2]:.2f}")


def copy_and_index(link: Link, records: list[Record], ann: str, like: str = "") -> None:
    """The peer of a build: COPY in one piece and the same graph. ``like`` names a table of ours, whose columns the peer has too; "" has none that keeps digests."""
    link.run("DROP TABLE IF EXISTS plain")
    own = f"id text PRIMARY KEY, text text, payload text, embedding vector({DIMENSION})"
    link.run(f"CREATE TABLE plain ({f'LIKE {like} INCLUDING ALL' if like else own})")
    head, pack = struct.pack(">hh", DIMENSION, 0), struct.Struct(f">{DIMENSION}f").pack
    rows = [
        b"\0\4"
        + b"".join(
            len(f).to_bytes(4, "big") + f
            for f in (r.id.encode(), r.text.encode(), b"{}", head + pack(*(r.vector or ())))
        )
        for r in records
    ]
    link.copy_in(
        "COPY plain (id, text, payload, embedding) FROM STDIN (FORMAT binary)",
        iter([b"PGCOPY\n\xff\r\n\0" + bytes(8), *rows, b"\xff\xff"]),
    )
    if ann != "flat":
        link.run(f"CREATE INDEX ON plain USING {ann} (embedding vector_cosine_ops)")
    link.run("ANALYZE plain")


def open_bench(folder: str) -> tuple[Embedded, Target]:
    """A server of our own with the tables of lockgate."""
    Path(folder).chmod(0o755)
    server = Embedded.ensure(Path(folder) / ".lockgate", version=18, idle_seconds=60)
    target = Target(server.url(), source="bench")
    wire = Wire(target, "bench")
    bring_up(wire)
    wire.close()
    return server, target


INTO = """
kind = "index"
writers = 0
key = ["id"]
[source]
table = "articles"
url_env = "APP"
[columns]
text = "body"
vector = "embedding"
[index]
name = "into"
model = "m"
raw_lengths = true
ann = "{ann}"
[limits]
workers = 1
"""


def plain_load(
    declared: IndexMove, target: Target, url: str, spec: Manifest, server: int
) -> tuple[Spent, Spent]:
    """The strict peer of a move: the same rows read, made into records and written in the same batches by the same calls, and the same structure; nothing else."""
    side = source_side(declared, url, "bench")
    link = Link(target, "bench")
    store = PgVector(link)
    store.create("plain__1", spec)

    def load() -> None:
        low = None
        while (high := side.boundary(low, declared.limits.batch_rows)) is not None:
            images = side.between(low, high)
            store.upsert("plain__1", [Record(k[0], i[0], "{}", as_vector(i[1], "bench")) for k, i in images])  # fmt: skip
            low = high

    taken = spent(server, load), spent(server, lambda: store.finalise("plain__1", spec))
    store.drop("plain__1")
    link.close()
    side.speaker.close()
    return taken


TEXT_ROWS = 500


def text_load(target: Target, spec: Manifest, server: int) -> tuple[Spent, Spent]:
    """The usual peer of a move: a loader that reads pages and writes them into the same table, with vectors as text, as drivers carry them."""
    link = Link(target, "bench")
    store = PgVector(link)
    store.create("plain__2", spec)
    write = (
        "INSERT INTO lockgate_index.plain__2 (id, text, embedding) SELECT id, text, embedding::vector FROM unnest($1::text[], $2::text[], $3::text[]) "
        "AS u (id, text, embedding) ON CONFLICT (id) DO UPDATE SET text = excluded.text, embedding = excluded.embedding"
    )

    def load() -> None:
        last = 0
        read = "SELECT id, body, embedding::text FROM articles WHERE id > $1 ORDER BY id LIMIT $2"
        while rows := link.rows(read, last, TEXT_ROWS):
            link.run(write, [str(r[0]) for r in rows], [r[1] for r in rows], [r[2] for r in rows])
            last = rows[-1][0]

    taken = spent(server, load), spent(server, lambda: store.finalise("plain__2", spec))
    store.drop("plain__2")
    link.close()
    return taken


GRAPH_MOST = 50_000
"""Over so many rows a graph takes minutes on both sides, and what a move costs disappears in it."""


def into(rows: int, count: int) -> None:
    """A move from a table with stored vectors into pgvector, against the same reading, records and upserts alone."""
    with tempfile.TemporaryDirectory() as folder:
        server, target = open_bench(folder)
        link = Link(target, "bench")
        first = int(link.value("SELECT pg_read_file('postmaster.pid')").split()[0])
        link.run("CREATE EXTENSION IF NOT EXISTS vector")
        link.run(f"CREATE TABLE articles (id bigint PRIMARY KEY, body text, embedding vector({DIMENSION}))")
        link.run(
            "INSERT INTO articles SELECT g, 'text ' || g, (SELECT array_agg(hashint4(g * 384 + i)::real / 2147483648.0) FROM generate_series(1, 384) i)::vector FROM generate_series(1, $1::int) g",
            rows,
        )
        link.run("VACUUM ANALYZE articles")
        (Path(folder) / "moves").mkdir()
        file = Path(folder) / "moves" / "into.toml"
        places = Urls(server.url(), "")
        for ann in ("flat", "hnsw:m=16,ef_construction=64")[: 2 if rows <= GRAPH_MOST else 1]:
            file.write_text(INTO.format(ann=ann))
            declared = parse_index(file, "into")
            seen: list[tuple[Spent, ...]] = []
            for _ in range(count):
                with opened_index(declared, target, places, "bench") as move:
                    moving.start(move, "bench")
                    fed = move.pair.target.fed
                    copy = spent(first, lambda move=move: backfill(move))
                    graph = spent(
                        first, lambda fed=fed: fed.store.finalise(fed.row.physical, fed.row.manifest)
                    )
                    proof = spent(first, lambda move=move: moving.reconcile(move))
                    dual.abort(move, "measured")
                    fed.store.drop(fed.row.physical)
                spec = fed.row.manifest
                for load, index in (text_load(target, spec, first), plain_load(declared, target, places.source, spec, first)):  # fmt: skip
                    seen.append((copy, copy + graph, copy + graph + proof, load, load + index))
            for at, peer in enumerate(("a loader that carries vectors as text", "the same calls and nothing kept")):  # fmt: skip
                told = f"move of {rows} rows into an index ({ann}) against {peer}"
                for mine, other, what in (
                    (0, 3, "copying"),
                    (1, 4, "with the search structure"),
                    (2, 4, "with proof and seal"),
                ):
                    some = [(s[mine], s[other]) for s in seen[at::2]]
                    show(f"{told}: {what}", medians([(a.clock, b.clock) for a, b in some]))
                    mid = [statistics.median(f(s) for s in some) * 1e6 / rows for f in (lambda s: s[0].ours, lambda s: s[0].servers, lambda s: s[1].ours, lambda s: s[1].servers)]  # fmt: skip
                    by = medians([(a.processor, b.processor) for a, b in some])
                    print("  processor time a row: {:.0f} µs and {:.0f} of the server against {:.0f} and {:.0f}".format(*mid) + f", ratio {by[2]:.2f}")  # fmt: skip
        link.close()
        server.stop()


def main(rows: int, count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        server, target = open_bench(folder)
        link = Link(target, "bench")
        store = PgVector(link)
        spec = Manifest(
            "vector", Embedding("given", "m", DIMENSION, normalised=False), "cosine", ann={"type": "flat"}
        )
        store.create("d__big", spec)
        link.run(FILL, rows)
        link.run("VACUUM ANALYZE lockgate_index.d__big")
        read = READ.format("big")
        link.rows(read)
        show(
            f"content root of {rows} x {DIMENSION} against reading the column",
            pairs(count, lambda: store.content("d__big"), lambda: link.rows(read)),
        )
        rng = random.Random(1)
        for ann, size in (("hnsw", 3000), ("flat", min(rows, 20_000))):
            records = [
                Record(f"{n:06d}", f"text {n}", "{}", tuple(rng.gauss(0, 0.05) for _ in range(DIMENSION)))
                for n in range(size)
            ]
            numbers = iter(range(1000))

            def ours(ann=ann, records=records, numbers=numbers, size=size) -> None:
                manifest = Manifest(
                    "vector",
                    Embedding("given", "m", DIMENSION, normalised=False),
                    "cosine",
                    ann={"type": ann},
                )
                wanted = Wanted("d", f"{ann}{next(numbers)}", "pgvector", "", manifest, "", size)
                build(
                    link,
                    store,
                    wanted,
                    lambda after: (r for r in records if r.id > after),
                    None,
                    actor="bench",
                )

            for like, what in (("lockgate_index.d__big", "the same table"), ("", "a table without digests")):
                figures = pairs(
                    min(count, 3), ours, lambda ann=ann, records=records, like=like: copy_and_index(link, records, ann, like)
                )  # fmt: skip
                show(f"build of {size} records ({ann}) against COPY into {what} and its index", figures)
        link.close()
        server.stop()


if __name__ == "__main__":
    if sys.argv[1:2] == ["into"]:
        into(*(int(a) for a in [*sys.argv[2:], *["20000", "3"][len(sys.argv) - 2 :]]))
        raise SystemExit
    main(*(int(a) for a in [*sys.argv[1:], *["100000", "5"][len(sys.argv) - 1 :]]))
