"""Many databases of the embedded server: `up --tenants` against one `up` after another, and `parity` over fifty of them.

    python bench/tenants.py [databases] [kill]

1,000 databases unless told otherwise; one after another is measured on a sample before and behind. With `kill` the first call
is killed with -9 half way, and its time counts. Processor time is that of the calls and of the server, sessions that ended and
its own processes (autovacuum, checkpoints) included: other work on the machine moves it less than the clock.
"""

import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psycopg

from lockgate.postgres.embedded import Embedded

FILES, SAMPLE, REGIONS = 8, 15, 50
COMMAND = [sys.executable, "-m", "lockgate"]
FAN = ["up", "--tenants", "tenants", "--concurrency", "8"]


def project(root: Path) -> None:
    """A project of small files."""
    folder = root / "db" / "migrations"
    folder.mkdir(parents=True)
    texts = {
        f"{1_700_000_000_000 + n}_m{n}.sql": f"CREATE TABLE t{n} (id bigint PRIMARY KEY, a text);\n"
        for n in range(FILES)
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    sums = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    (folder / "checksums.json").write_text(
        json.dumps({"schemaVersion": "1", "algorithm": "sha256", "files": sums})
    )


class Cost(NamedTuple):
    """Seconds by the clock, and processor seconds of the call and of the server."""

    clock: float
    processor: float

    @classmethod
    def now(cls, root: Path) -> "Cost":
        """What was spent so far, for ``since``."""
        mine = resource.getrusage(resource.RUSAGE_CHILDREN)
        postmaster = next((root / ".lockgate").rglob("postmaster.pid")).read_text().split()[0]
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        spent = 0
        for pid in (postmaster, *children):
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            except FileNotFoundError:  # ended meanwhile: the postmaster tells of it next time
                continue
            spent += sum(map(int, fields[11 : 15 if pid == postmaster else 13]))
        return cls(time.perf_counter(), mine.ru_utime + mine.ru_stime + spent / os.sysconf("SC_CLK_TCK"))

    def since(self, begun: "Cost") -> "Cost":
        """What was spent between two moments."""
        return Cost(self.clock - begun.clock, self.processor - begun.processor)

    def plus(self, other: "Cost") -> "Cost":
        """Both together."""
        return Cost(self.clock + other.clock, self.processor + other.processor)

    def times(self, factor: float) -> "Cost":
        """``factor`` times as much."""
        return Cost(self.clock * factor, self.processor * factor)


def run(root: Path, *arguments: str, **environ: str) -> Cost:
    """What one call costs; it has to succeed."""
    begun = Cost.now(root)
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=root,
        env={**os.environ, **environ},
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(
            f"{arguments} exited with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return Cost.now(root).since(begun)


def mean(root: Path, urls: list[str]) -> Cost:
    """What one `up` after another costs on average over the databases ``urls``."""
    begun = Cost.now(root)
    for url in urls:
        run(root, "up", DATABASE_URL=url)
    return Cost.now(root).since(begun).times(1 / len(urls))


def killed_half_way(root: Path, url: str, middle: str) -> Cost:
    """What `up --tenants` had cost when it was killed with -9, when the database behind ``middle`` was done."""
    begun = Cost.now(root)
    process = subprocess.Popen(
        [*COMMAND, *FAN], cwd=root, env={**os.environ, "DATABASE_URL": url},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while process.poll() is None:
        with psycopg.connect(middle, autocommit=True) as connection:
            there = connection.execute("SELECT to_regclass('lockgate.migration_history')").fetchone()
            if there and there[0] and applied(connection) == FILES:
                break
        time.sleep(0.2)
    process.kill()
    process.wait()
    return Cost.now(root).since(begun)


def applied(connection: psycopg.Connection) -> int:
    """How many files the history of a database has."""
    row = connection.execute("SELECT count(*) FROM lockgate.migration_history").fetchone()
    return int(row[0]) if row else 0


def exactly_once(urls: list[str]) -> bool:
    """True when each of these databases has every file once, with its tables."""
    for url in urls:
        with psycopg.connect(url, autocommit=True) as connection:
            row = connection.execute(
                "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname ~ '^t[0-9]+$'"
            ).fetchone()
            if applied(connection) != FILES or row != (FILES,):
                return False
    return True


def flush(folder: Path) -> None:
    """Wait until what was written is on the disk."""
    subprocess.run(["sync", "--file-system", str(folder)], check=True)


def main() -> None:
    """Print the figures."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    kill = "kill" in sys.argv[2:]
    with tempfile.TemporaryDirectory(prefix="lockgate-bench-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        project(root)
        server = Embedded.ensure(root / ".lockgate", settings={"fsync": "off"})
        names = [f"tenant_{n}" for n in range(count + SAMPLE)]
        with psycopg.connect(server.url(), autocommit=True) as admin:
            for name in names:
                admin.execute(f"CREATE DATABASE {name}")
            # Tenants stand there long before; what is left to write of a thousand made just now (7 MB each, and as much
            # of log) would be written beside what is measured, on cores that the fan-out needs and a single `up` does not.
            admin.execute("CHECKPOINT")
        flush(root)
        (root / "tenants").write_text("\n".join(names[:count]))
        try:
            alone = [server.url(name) for name in names[count:]]
            first = mean(root, alone[:5])
            nothing = Cost(0.0, 0.0)
            cut = killed_half_way(root, server.url(), server.url(names[count // 2])) if kill else nothing
            fan = cut.plus(run(root, *FAN, DATABASE_URL=server.url()))
            last = mean(root, alone[5:])
            single = first.times(5 / SAMPLE).plus(last.times(1 - 5 / SAMPLE)).times(count)
            print(
                f"up over {count} databases, {FILES} files each: {fan.clock:.1f} s; one up after another {single.clock:.1f} s (from {SAMPLE}): {single.clock / fan.clock:.2f} x"
            )
            print(
                f"processor time: {fan.processor:.1f} s ({fan.processor / count * 1000:.0f} ms a database); one up after another {single.processor:.1f} s ({single.processor / count * 1000:.0f} ms)"
            )
            if kill:
                whole = exactly_once([server.url(name) for name in names[:count]])
                print(
                    f"killed with -9 after {cut.clock:.1f} s and called again: every file once everywhere: {whole}"
                )
            again = run(root, *FAN, DATABASE_URL=server.url())
            print(
                f"the same again, nothing to do: {again.clock:.1f} s, {again.processor / count * 1000:.1f} ms of processor time a database"
            )
            regions = {f"R{n}": server.url(name) for n, name in enumerate(names[:REGIONS])}
            words = [word for name in regions for word in ("--region", f"{name.lower()}={name}")]
            best = sorted(run(root, "parity", *words, **regions).clock for _ in range(5))
            print(f"parity over {len(regions)} regions: {best[2]:.2f} s (median of 5)")
        finally:
            server.stop("immediate")


if __name__ == "__main__":
    main()
