"""Many databases of the embedded server: `up --tenants` against one `up` after another, and `parity` over fifty of them.

    python bench/tenants.py [databases] [kill]

1,000 databases unless told otherwise; one after another is measured on a sample before and behind. With `kill` the first call
is killed with -9 half way, and its time counts.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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


def run(root: Path, *arguments: str, **environ: str) -> float:
    """Seconds of one call; it has to succeed."""
    begun = time.perf_counter()
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
    return time.perf_counter() - begun


def killed_half_way(root: Path, url: str, middle: str) -> float:
    """Seconds that `up --tenants` ran before it was killed with -9, when the database behind ``middle`` was done."""
    begun = time.perf_counter()
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
    return time.perf_counter() - begun


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
            first = (
                sum(run(root, "up", DATABASE_URL=server.url(name)) for name in names[count : count + 5]) / 5
            )
            cut = killed_half_way(root, server.url(), server.url(names[count // 2])) if kill else 0.0
            fan = cut + run(root, *FAN, DATABASE_URL=server.url())
            last = sum(run(root, "up", DATABASE_URL=server.url(name)) for name in names[count + 5 :]) / (
                SAMPLE - 5
            )
            single = (first * 5 + last * (SAMPLE - 5)) / SAMPLE
            print(
                f"up over {count} databases, {FILES} files each: {fan:.1f} s; one up after another {single * count:.1f} s (from {SAMPLE}): {single * count / fan:.1f} x"
            )
            if kill:
                whole = exactly_once([server.url(name) for name in names[:count]])
                print(
                    f"killed with -9 after {cut:.1f} s and called again: every file once everywhere: {whole}"
                )
            again = run(root, *FAN, DATABASE_URL=server.url())
            print(f"the same again, nothing to do: {again:.1f} s")
            regions = {f"R{n}": server.url(name) for n, name in enumerate(names[:REGIONS])}
            words = [word for name in regions for word in ("--region", f"{name.lower()}={name}")]
            best = sorted(run(root, "parity", *words, **regions) for _ in range(5))
            print(f"parity over {len(regions)} regions: {best[2]:.2f} s (median of 5)")
        finally:
            server.stop("immediate")


if __name__ == "__main__":
    main()
