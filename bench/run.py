"""`make bench`: lockgate against its peers on one server, in pairs of one run; medians and ratios in a table.

Whole processes are timed, start-up included, as a pipeline pays for them. Every migration is one small statement in a
transaction of its own. The server is the embedded PostgreSQL with its durable defaults, over TCP on loopback, because
that is what all peers can speak.
"""

import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import peers
from server import Server

LOCKGATE = [str(Path(sys.executable).with_name("lockgate"))]
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SIZES = (1000, 10_000)


def statements(count: int) -> list[str]:
    """Four small changes a table, as real histories have them."""
    made = []
    for i in range(count):
        t = f"t{i // 4}"
        made.append(
            [
                f"CREATE TABLE {t} (id bigint PRIMARY KEY, a text);",
                f"ALTER TABLE {t} ADD COLUMN b text;",
                f"CREATE INDEX {t}_b ON {t} (b);",
                f"COMMENT ON TABLE {t} IS 'x';",
            ][i % 4]
        )
    return made


def project(folder: Path, sql: list[str]) -> Path:
    """A lockgate project with these migrations."""
    directory = folder / "db" / "migrations"
    directory.mkdir(parents=True)
    files = {}
    for i, text in enumerate(sql):
        name, body = f"{1700000000000 + i}_m{i}.sql", (text + "\n").encode()
        (directory / name).write_bytes(body)
        files[name] = hashlib.sha256(body).hexdigest()
    (directory / "checksums.json").write_text(
        json.dumps({"schemaVersion": "1", "algorithm": "sha256", "files": files})
    )
    return folder


def timed(command: list[str], cwd: Path, environment: dict[str, str]) -> tuple[float, float]:
    """Seconds of the whole process, and its peak memory in MB."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LOCKGATE", "DATABASE_URL"))}
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env={**clean, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"{command[0]} failed: {errors.decode(errors='replace')[-400:]}")
    return seconds, usage.ru_maxrss / 1024


def main() -> None:
    """Run everything and print the tables in Markdown."""
    peers.install()
    with tempfile.TemporaryDirectory(prefix="lockgate-bench-") as name, Server() as server:
        folder = Path(name)
        sql = statements(1000)
        ours = project(folder / "lockgate", sql)
        rows: dict[str, dict[str, list[float]]] = {
            n: {"up": [], "nothing": []} for n in ("lockgate", "dbmate", "node-pg-migrate", "alembic", "yoyo")
        }
        for round_number in range(ROUNDS):
            for tool, times in rows.items():
                # A database of its own a round, dropped with the server: dropped between rounds, its freed inodes slow all tools.
                url = server.fresh(f"bench_{tool.replace('-', '_')}_{round_number}")
                if tool == "lockgate":
                    command, environment, cwd = [*LOCKGATE, "up"], {"DATABASE_URL": url}, ours
                else:
                    peer = peers.Peer(tool, folder / f"{tool}-{round_number}", sql, url)
                    (command, environment), cwd = peer.command(), folder
                times["up"].append(timed(command, cwd, environment)[0])
                times["nothing"].append(min(timed(command, cwd, environment)[0] for _ in range(3)))
                print(
                    f"round {round_number + 1} {tool}: up {times['up'][-1]:.2f} s, nothing to do {times['nothing'][-1]:.2f} s",
                    file=sys.stderr,
                )
        print(
            f"\n{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, PostgreSQL {server.version}; medians of {ROUNDS} rounds\n"
        )
        print(
            "| 1,000 small migrations, whole process | up, s | lockgate ÷ it | nothing to do, s |\n|---|---|---|---|"
        )
        base = statistics.median(rows["lockgate"]["up"])
        for tool, times in rows.items():
            up, nothing = statistics.median(times["up"]), statistics.median(times["nothing"])
            print(f"| {tool} | {up:.2f} | {base / up:.2f} | {nothing:.2f} |")
        growth(folder, server, base)
        version = min(timed([*LOCKGATE, "--version"], folder, {})[0] for _ in range(9))
        print(f"| `lockgate --version` | {version:.3f} s |")


def growth(folder: Path, server: Server, base: float) -> None:
    """10,000 files: time, memory, status."""
    big = project(folder / "big", statements(SIZES[1]))
    url = server.fresh("bench_big")
    seconds, memory = timed([*LOCKGATE, "up"], big, {"DATABASE_URL": url})
    status = statistics.median(timed([*LOCKGATE, "status"], big, {"DATABASE_URL": url})[0] for _ in range(3))
    nothing, nothing_memory = timed([*LOCKGATE, "up"], big, {"DATABASE_URL": url})
    print("\n| 10,000 small migrations | |\n|---|---|")
    print(f"| up | {seconds:.2f} s ({seconds / base:.1f} times the time of 1,000) |")
    print(f"| peak memory of up | {memory:.0f} MB |")
    print(f"| status | {status:.2f} s |")
    print(f"| nothing to do | {nothing:.2f} s, {nothing_memory:.0f} MB |")


if __name__ == "__main__":
    main()
