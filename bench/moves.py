"""The figures of data moves, as ratios against peers in the same run: `python bench/moves.py [ROWS]` (a million by default).

Every pair runs alternately on one server; medians of the pairs are shown. reladiff comes from the registry into the
bench's own cache. On a quiet machine about two minutes with a million rows, seven with five million, and 7 GB then.
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import psycopg
from server import Server
from spending import Spent, faster, in_turns, median, spending

from lockgate.moves import backfill, cutover, reconcile, start
from lockgate.moves.declaration import Declaration, LimitsPart, Source, TargetSide
from lockgate.moves.ending import abort
from lockgate.moves.opened import Where, opened
from lockgate.postgres.embedded import wheel_binaries
from lockgate.postgres.moves import home
from lockgate.postgres.target import Target

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lockgate-bench"
COLUMNS = "id, a, b, n, ts, k"
MAKE = (
    "CREATE TABLE x (id bigint PRIMARY KEY, a text, b text, n numeric(10,2), ts timestamp, k int)",
    "INSERT INTO x SELECT g, 'user' || g, md5(g::text) || md5((g + 1)::text), g % 1000, '2026-01-01'::timestamp + g * interval '1 s', g % 7 FROM generate_series(1, {rows}) g",
    "VACUUM ANALYZE x",
)


def run(url: str, *statements: str) -> list[tuple]:
    """Run statements one by one; the rows of the last."""
    with psycopg.connect(url, autocommit=True) as connection:
        rows: list[tuple] = []
        for statement in statements:
            cursor = connection.execute(statement)
            rows = cursor.fetchall() if cursor.description else []
        return rows


def timed(work: Callable[[], object]) -> float:
    """Seconds that ``work`` takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def pairs(times: int, *works: Callable[[], object]) -> list[float]:
    """Run all ``works`` alternately and give the median of each."""
    seen: list[list[float]] = [[] for _ in works]
    for _ in range(times):
        for place, work in enumerate(works):
            seen[place].append(timed(work))
    return [statistics.median(s) for s in seen]


def reladiff() -> str | None:
    """The peer's command, installed from the registry; None when that is not possible."""
    folder = CACHE / "reladiff"
    if not (folder / "bin" / "reladiff").is_file():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        done = subprocess.run(
            [str(folder / "bin" / "pip"), "install", "-q", "reladiff", "psycopg2-binary"], check=False
        )
        if done.returncode:
            return None
    return str(folder / "bin" / "reladiff")


def raw_scan(one: str, other: str) -> None:
    """The digest of both tables at once and nothing else: the floor of every exact comparison by digests."""
    sql = f"SELECT count(*), sum(hash_record_extended(ROW(d), 1)), sum(hash_record_extended(ROW(d), 2)) FROM (SELECT record_send(ROW({COLUMNS})) AS d FROM x OFFSET 0) q"
    threads = [
        threading.Thread(target=run, args=(url, "SET max_parallel_workers_per_gather = 0", sql))
        for url in (one, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def verification(one: str, other: str, rows: int) -> None:
    """Equal tables, then a hundred scattered differences."""
    ours = [
        str(Path(sys.executable).parent / "lockgate"),
        "move",
        "verify",
        "--source",
        one,
        "--target",
        other,
        "--table",
        "x",
        "--format",
        "json",
    ]
    peer = reladiff()
    theirs = (
        []
        if peer is None
        else [
            peer,
            one,
            "x",
            other,
            "x",
            "-k",
            "id",
            *(w for c in COLUMNS.split(", ")[1:] for w in ("-c", c)),
        ]
    )

    def call(command: list[str]) -> Callable[[], object]:
        return lambda: subprocess.run(command, capture_output=True, check=False)

    works = [call(ours), lambda: raw_scan(one, other)] + ([call(theirs)] if theirs else [])
    mine, raw, *reference = pairs(3, *works)
    print(f"verify, equal tables            {mine:6.2f} s   {mine / raw:.2f} x the raw digest scan of both ({raw:.2f} s)" + (f"   reladiff {reference[0]:.2f} s: {reference[0] / mine:.1f} x faster" if reference else ""))  # fmt: skip
    run(other, "UPDATE x SET a = a || '!' WHERE id % (SELECT max(id) / 100 FROM x) = 7")
    # The peer takes half a minute for this among five million rows.
    mine, *reference = pairs(3 if rows <= 2_000_000 else 1, *works[:1], *works[2:])
    print(
        f"verify, 100 scattered changes   {mine:6.2f} s"
        + (f"   reladiff {reference[0]:.2f} s: {reference[0] / mine:.1f} x faster" if reference else "")
    )


def copies(server: Server, url: str, rows: int) -> None:
    """The verified backfill against the same upsert in the same batches without proof, against a plain insert that nothing keeps
    from writing a key twice, and against fetch and executemany."""
    limits = LimitsPart(batch_rows=10_000, workers=1, max_connections_percent=100, max_lock_waiters=1000)
    seen: dict[str, list[Spent]] = {"ours": [], "two": [], "upsert": [], "insert": [], "many": []}

    def verified(name: str, workers: int) -> None:
        run(url, "DROP TABLE IF EXISTS x_new, x__bench_old")
        mine = msgspec.structs.replace(limits, workers=workers)
        declared = Declaration(Source("x"), TargetSide("x_new", "", True), name="bench", limits=mine)
        with opened(declared, Where(Target(url, source="bench"), None), "bench") as move:
            start.start(move, "bench")
            with spending(server, seen[name]):
                done = backfill.backfill(move)
            assert done.complete, done
            abort(move, "bench")

    def batches(name: str, end: str) -> None:
        run(url, "DROP TABLE IF EXISTS y", "CREATE TABLE y (LIKE x INCLUDING ALL)")
        with psycopg.connect(url, autocommit=True) as connection, spending(server, seen[name]):
            low: int | None = 0
            while low is not None:
                row = connection.execute(
                    "SELECT id FROM x WHERE id > %s ORDER BY id LIMIT 1 OFFSET 9999", (low,)
                ).fetchone()
                high = row[0] if row else rows
                connection.execute(
                    f"INSERT INTO y SELECT * FROM x WHERE id > %s AND id <= %s {end}", (low, high)
                )
                low = high if row else None

    def executemany() -> None:
        part = min(rows, max(rows // 10, 10_000), 100_000)
        run(url, "DROP TABLE IF EXISTS y", "CREATE TABLE y (LIKE x INCLUDING ALL)")
        with (
            psycopg.connect(url) as connection,
            connection.cursor() as cursor,
            spending(server, seen["many"], rows / part),
        ):
            for low in range(0, part, 10_000):
                got = cursor.execute(
                    f"SELECT {COLUMNS} FROM x WHERE id > %s AND id <= %s", (low, low + 10_000)
                ).fetchall()
                cursor.executemany(
                    "INSERT INTO y VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (id) DO NOTHING", got
                )
                connection.commit()

    in_turns(
        3,
        lambda: verified("ours", 1),
        lambda: batches("upsert", "ON CONFLICT (id) DO NOTHING"),
        lambda: batches("insert", ""),
        lambda: verified("two", 2),
        executemany,
    )
    run(url, "DROP TABLE IF EXISTS y, x_new, x__bench_old")
    ours, two, upsert, insert, many = (median(s) for s in seen.values())
    print(f"backfill with proof, one worker {ours.clock:6.2f} s   {rows / ours.clock:,.0f} rows/s   {faster(ours, upsert)} the speed of the same upsert without proof, {faster(ours, many)} that of executemany, {faster(ours, insert)} that of a plain insert without proof")  # fmt: skip
    print(f"backfill with proof, two workers {two.clock:5.2f} s   {rows / two.clock:,.0f} rows/s   {faster(two, many)} the speed of executemany (client and server, two processors too)")  # fmt: skip


def across(server: Server, url: str, far: str, rows: int) -> None:
    """The verified copy into another database, capture registered, against pgcopydb's clone of the same table without either.

    The peer runs with one process a table, and with its table in parts for two; it also runs VACUUM ANALYZE, which cannot be left out, and
    starts and ends some processes, which counts among a million rows and hardly among five.
    """
    limits = LimitsPart(batch_rows=50_000, workers=2, max_connections_percent=100, max_lock_waiters=1000)
    declared = Declaration(
        Source("x"), TargetSide("x", "FAR", True), name="bench", switch="none", limits=limits
    )
    ours: list[Spent] = []

    def verified() -> None:
        run(far, "DROP TABLE IF EXISTS x", "CHECKPOINT")
        with opened(
            declared, Where(Target(url, source="bench"), Target(far, source="bench")), "bench"
        ) as move:
            with spending(server, ours):
                start.start(move, "bench")
                done = backfill.backfill(move)
            assert done.complete, done
            abort(move, "bench")

    plain = server.fresh("moves_plain")  # the peer copies whole databases: one with this table alone
    run(plain, *(m.format(rows=rows) for m in MAKE))
    environment = {**os.environ, "PATH": f"{wheel_binaries(16).bindir}:{os.environ['PATH']}"}
    clones: dict[str, list[Spent]] = {"": [], "50MB": []}

    def clone(parts: str) -> None:
        shutil.rmtree(CACHE / "pgcopydb", ignore_errors=True)
        theirs = [
            "pgcopydb", "clone", "--source", plain, "--target", server.fresh("moves_peer"), "--table-jobs", "2", "--index-jobs", "2", "--no-acl", "--no-owner",
            "--skip-large-objects", "--dir", str(CACHE / "pgcopydb"), *(["--split-tables-larger-than", parts] if parts else []),
        ]  # fmt: skip
        with spending(server, clones[parts]):
            done = subprocess.run(
                theirs, capture_output=True, text=True, check=False, env=environment, start_new_session=True
            )  # it ends its whole group when it fails
        assert done.returncode == 0, done.stderr[-2000:]

    peers = [lambda: clone(""), lambda: clone("50MB")] if shutil.which("pgcopydb") else []
    in_turns(3, verified, *peers)
    mine, theirs = median(ours), [median(s) for s in clones.values() if s]
    print(
        f"backfill across two databases   {mine.clock:6.2f} s   {rows / mine.clock:,.0f} rows/s (binary COPY into a table with its key, count and digest of both sides)"
        + (f"   {faster(mine, theirs[0])} the speed of pgcopydb, which proves nothing ({theirs[0].clock:.2f} s); with its table in parts {faster(mine, theirs[1])}" if theirs else "   pgcopydb is not installed")
    )  # fmt: skip


def shadows(url: str) -> None:
    """What shadow reads cost the reader: the 99th percentile of reads with the default sample and budget against reads without.

    Blocks of both take turns within seconds (without, with, with, without), so that what else the machine does falls on both; a
    block is long enough for the shadow to look several times while it runs, and ends only when its shadow has ended, so that
    what is left of its work does not fall on the next one.
    """
    from lockgate.moves.shadow import Observation, Shadow

    sql = "SELECT id, a, b FROM x WHERE id = %s"
    ratios, observed, dropped = [], 0, 0
    with psycopg.connect(url, autocommit=True) as old, psycopg.connect(url, autocommit=True) as new:
        for _ in range(9):
            seen: tuple[list[float], list[float]] = ([], [])
            for block in range(8):
                shadowed = block % 4 in (1, 2)
                kept: list[Observation] = []
                with Shadow(kept.append) as shadow:
                    for number in range(4000):
                        key = ((block * 4000 + number) * 7919 % 100_000 + 1,)
                        begin = time.perf_counter()
                        if shadowed:
                            shadow(
                                lambda k=key: old.execute(sql, k).fetchall(),
                                lambda k=key: new.execute(sql, k).fetchall(),
                                query="row",
                            )  # type: ignore[misc]
                        else:
                            old.execute(sql, key).fetchall()
                        seen[shadowed].append(time.perf_counter() - begin)
                    observed += len(kept)  # those that fell beside the reads
                dropped += shadow.dropped
            without, with_ = (sorted(s) for s in seen)
            place = len(without) * 99 // 100
            ratios.append(with_[place] / without[place])
    print(
        f"shadow reads, 1 % sampled       the reader's P99 is {statistics.median(ratios):.3f} of what it is without (median of {len(ratios)} pairs: {', '.join(f'{r:.2f}' for r in ratios)}); "
        f"{observed} of {9 * 16_000} observed meanwhile, {dropped} dropped"
    )


def writers(url: str) -> None:
    """What capture costs a writer (pgbench), and how long a cutover holds writers, with and without a blocker."""
    run(
        url,
        "DROP TABLE IF EXISTS w, w_new, w__bench_old",
        "CREATE TABLE w (id bigint PRIMARY KEY, v int)",
        "INSERT INTO w SELECT g, 0 FROM generate_series(1, 100000) g",
    )
    script = CACHE / "write.sql"
    script.write_text("\\set id random(1, 100000)\nUPDATE w SET v = v + 1 WHERE id = :id;\n")
    pgbench = str(wheel_binaries(16).bindir / "pgbench")

    def rate() -> float:
        done = subprocess.run(
            [pgbench, "-n", "-f", str(script), "-c", "2", "-T", "3", "-M", "prepared", url],
            capture_output=True,
            text=True,
            check=True,
        )
        return float(next(line for line in done.stdout.splitlines() if line.startswith("tps")).split()[2])

    declared = Declaration(
        Source("w"),
        TargetSide("w_new", "", True),
        name="bench",
        limits=LimitsPart(max_connections_percent=100, max_lock_waiters=1000),
    )
    place = Where(Target(url, source="bench"), None)
    ratios = []
    for _ in range(3):
        before = rate()
        with opened(declared, place, "bench") as move:
            run(url, "DROP TABLE IF EXISTS w_new")
            start.start(move, "bench")
            ratios.append(rate() / before)
            abort(move, "bench")
    print(f"dual write                      a writer keeps {statistics.median(ratios):.0%} of its throughput")
    for words, hold in (("without a blocker", 0.0), ("with a blocker of 1.5 s", 1.5)):
        turns = [turn(url, declared, place, hold) for _ in range(3)]
        held, worst, alone, attempts = (sorted(t[i] for t in turns) for i in range(4))
        print(
            f"cutover {words:<24}writers held {held[1]:.1f} ms ({held[0]:.1f} to {held[2]:.1f}), worst write {worst[1]:.0f} ms ({worst[0]:.0f} to {worst[2]:.0f}; of as many seconds just before {alone[1]:.0f} ms), {attempts[1]} attempts"
        )


def turn(url: str, declared: Declaration, place: Where, hold: float) -> tuple[float, float, float, int]:
    """A cutover under a writer, while somebody holds the table for ``hold`` seconds: milliseconds in which writers were held, the worst write
    meanwhile, the worst of as long a time just before, when nothing but the writer was at work, and attempts for the lock."""
    run(url, "DROP TABLE IF EXISTS w_new, w__bench_old")
    with opened(declared, place, "bench") as move:
        start.start(move, "bench")
        backfill.backfill(move)
        reconcile.reconcile(move)
        stop = threading.Event()
        writes: list[tuple[float, float]] = []

        def write() -> None:
            with psycopg.connect(url, autocommit=True) as connection:
                while not stop.is_set():
                    begin = time.perf_counter()
                    with suppress(psycopg.errors.LockNotAvailable):
                        took = timed(lambda: connection.execute("UPDATE w SET v = v + 1 WHERE id = 77"))
                        writes.append((begin, took * 1000))

        thread = threading.Thread(target=write)
        thread.start()
        stop.wait(hold + 0.5)
        with psycopg.connect(url) as blocker:
            if hold:
                blocker.execute("SELECT count(*) FROM w WHERE id = 5")
                threading.Timer(hold, blocker.rollback).start()
            begin = time.perf_counter()
            turned = cutover.cutover(move)
            took = time.perf_counter() - begin
            stop.set()
            thread.join()
        worst = max((ms for at, ms in writes if at + ms / 1000 >= begin), default=0.0)
        alone = max((ms for at, ms in writes if begin - took <= at and at + ms / 1000 < begin), default=0.0)
        cutover.rollback(move)
        abort(move, "bench")
    return turned.cutover_ms, worst, alone, turned.attempts


def main() -> None:
    """All of it."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    CACHE.mkdir(parents=True, exist_ok=True)
    print(f"{rows:,} rows, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the run")
    with Server() as server:
        one, other = server.fresh("moves_a"), server.fresh("moves_b")
        for url in (one, other):
            run(url, *(m.format(rows=rows) for m in MAKE))
            home.ensure(Target(url, source="bench"))
        verification(one, other, rows)
        copies(server, one, rows)
        across(server, one, other, rows)
        writers(one)
        shadows(one)
        peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) >> 10  # fmt: skip
        print(f"memory                          {peak} MB at most, of this process (which copies) and of every child (which compares)")  # fmt: skip


if __name__ == "__main__":
    main()
