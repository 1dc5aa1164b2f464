"""Figures of the rehearsal: 400 files against the plain driver, and whether the stated band of an estimate holds.

``python bench/rehearsal.py [history|band]``. Both use a scratch server of their own in a temporary folder.
"""

import hashlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import psycopg
from server import processor_seconds

from lockgate.config import Migrations, Roles, Settings
from lockgate.migrations.contract import prepare
from lockgate.migrations.files import Migration
from lockgate.migrations.ledger import write_ledger
from lockgate.migrations.limits import Limits
from lockgate.policy.facts import Server
from lockgate.policy.model.schema import Relation, Schema
from lockgate.policy.model.snapshot import Snapshot
from lockgate.policy.subject import Options
from lockgate.postgres.alarm import Alarm
from lockgate.postgres.embedded import Embedded
from lockgate.postgres.guard import RunIdentity
from lockgate.rehearsal.base import from_revision
from lockgate.rehearsal.ground import own_ground
from lockgate.rehearsal.rehearse import Rehearsing, Wish
from lockgate.rehearsal.replay import Stage
from lockgate.rehearsal.scaling import Scaling

FILES = 400
ROWS = 20_000
FIRST = 1_700_000_000_000
SCHEMAS: dict[str, tuple[str, list[str]]] = {
    "shop": (
        "create table users (id bigint primary key, email text not null, nick text, age int, at timestamptz not null);"
        "create table orders (id bigserial primary key, user_id bigint not null references users, total numeric(10,2) not null, status text not null, at timestamptz not null);"
        "create index orders_user on orders (user_id);",
        [
            "create index orders_at on orders (at)",
            "create index orders_status on orders (status, at)",
            "alter table orders alter column total type numeric(14,4)",
            "alter table users add constraint aged check (age > 0)",
            "alter table orders add column note text",
            "update users set nick = upper(nick)",
            "alter table users alter column age type bigint",
            "alter table orders add constraint again foreign key (user_id) references users (id)",
            "delete from orders where id % 5 = 0",
            "create unique index users_email on users (email)",
        ],
    ),
    "events": (
        "create table events (id bigint primary key, device uuid not null, kind text not null, at timestamptz not null, payload jsonb not null, value double precision);"
        "create index events_device on events (device);",
        [
            "create index events_at on events (at, kind)",
            "create index events_payload on events using gin (payload)",
            "alter table events alter column value set not null",
            "alter table events add column source text not null default 'x'",
            "update events set value = value + 1 where id % 2 = 0",
            "alter table events add column number bigserial",
            "create table copied as select * from events",
            "alter table events alter column kind type varchar(200)",
            "alter table events drop column source",
            "create index events_value on events (value) where value > 100",
        ],
    ),
    "accounts": (
        "create table accounts (id int primary key, owner text not null, balance numeric(12,2) not null, opened date not null);"
        "create table entries (id bigint primary key, account_id int not null references accounts, amount numeric(12,2) not null, booked timestamptz not null, memo text);",
        [
            "create index entries_account on entries (account_id)",
            "alter table entries add constraint amounts check (amount >= 0)",
            "alter table entries alter column booked type timestamp using booked at time zone 'UTC'",
            "update entries set memo = memo || '!' where account_id % 3 = 0",
            "alter table accounts add constraint owners check (length(owner) > 0) not valid",
            "alter table accounts validate constraint owners",
            "create materialized view sums as select account_id, sum(amount) from entries group by account_id",
            "refresh materialized view sums",
            "alter table entries add column day date generated always as (booked::date) stored",
            "cluster entries using entries_account",
        ],
    ),
}


def migration(number: int, sql: str) -> Migration:
    """One file of a project."""
    revision = str(FIRST + number)
    digest = hashlib.sha256(sql.encode()).hexdigest()
    return Migration(revision, f"m{number}", f"{revision}_m{number}.sql", digest, sql)


def stage_of(alarm: Alarm, *files: str) -> Stage:
    """These files, prepared."""
    migrations = tuple(migration(number, sql) for number, sql in enumerate(files))
    prepared = {}
    for one in migrations:
        item, problems = prepare(one)
        assert item is not None, problems
        prepared[one.revision] = item
    return Stage(
        migrations, prepared, Limits.of(Migrations()), alarm, RunIdentity("bench", "rehearse", "bench")
    )


def snapshot_of(rows: dict[str, int]) -> Snapshot:
    """A snapshot that knows sizes and nothing else."""
    relations = {key: Relation(key, "r", rows=count) for key, count in rows.items()}
    return Snapshot("1", 18, "2026-01-01T00:00:00Z", Schema(relations=relations), schema_rev="none")


def band(folder: Path) -> None:
    """Measure at ``ROWS``, foretell ten times as many, measure those, and count."""
    inside, told = 0, []
    ground = own_ground(Settings(root=folder))
    with ground, Alarm() as alarm:
        for name, (base, statements) in SCHEMAS.items():
            stage = stage_of(alarm, base, *(f"{text};" for text in statements))
            plan = from_revision(stage.migrations, str(FIRST))
            options = Options(server=Server(version=ground.version // 10000))
            tables = [part.split()[2] for part in base.split(";") if part.startswith("create table")]
            wish = Wish(stage, plan, options, Roles(), date(2026, 1, 1), rows=20)
            wish = Wish(
                stage, plan, options, Roles(), date(2026, 1, 1),
                scaling=Scaling(snapshot_of(dict.fromkeys(tables, ROWS * 10)), ROWS, 1),
            )  # fmt: skip
            foretold = Rehearsing(ground, wish).run().impact
            large = Scaling(snapshot_of(dict.fromkeys(tables, ROWS * 10)), ROWS * 10, 1)
            wish = Wish(stage, plan, options, Roles(), date(2026, 1, 1), scaling=large)
            measured = Rehearsing(ground, wish).run().impact
            assert foretold is not None
            assert measured is not None
            real = {s.revision: s.measured[-1].seconds for s in measured.statements}
            for one in foretold.statements:
                seconds = real[one.revision]
                holds = one.seconds.low <= seconds <= one.seconds.high
                inside += holds
                told.append(holds)
                text = statements[int(one.revision) - FIRST - 1][:60]
                print(
                    f"{'in ' if holds else 'OUT'} {name:9} {one.seconds.low * 1000:8.1f} {one.seconds.expected * 1000:8.1f} {one.seconds.high * 1000:8.1f}  was {seconds * 1000:8.1f} ms  {text}"
                )
    print(
        f"{inside} of {len(told)} durations at ten times the size lie within the stated band: {inside / len(told):.0%}"
    )


def history(folder: Path) -> None:
    """Rehearse ``FILES`` small files, cold and warm, beside the plain driver in the same minute."""
    directory = folder / "db" / "migrations"
    directory.mkdir(parents=True)
    kinds = [
        "create table t{n} (id bigint primary key, a text);", "alter table t{n} add column b text;",
        "comment on table t{n} is 'x';", "alter table t{n} alter column a set default 'x';",
    ]  # fmt: skip
    texts = [kinds[number % 4].format(n=number // 4) for number in range(FILES)]
    sums = {}
    for number, text in enumerate(texts):
        file = directory / f"{FIRST + number}_m{number}.sql"
        file.write_text(text + "\n")
        sums[file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
    write_ledger(directory, sums)
    cold, warm, direct = [], [], []
    client, servers = [], []
    for _ in range(3):
        server = Embedded.find(folder / ".lockgate" / "rehearsal")
        if server is not None:
            with psycopg.connect(server.url(), autocommit=True) as connection:
                for (name,) in connection.execute(
                    "select datname from pg_database where datname like 'lockgate_template%'"
                ).fetchall():
                    connection.execute(f'drop database "{name}"')
        own, its = children_seconds(), processor_seconds(server.pid) if server else 0.0
        cold.append(call(folder))
        if server is not None:
            client.append(children_seconds() - own)
            servers.append(processor_seconds(server.pid) - its)
        call(folder, "--from", str(FIRST + FILES - 2))
        warm.append(call(folder, "--from", str(FIRST + FILES - 2)))
        server = Embedded.find(folder / ".lockgate" / "rehearsal")
        assert server is not None
        direct.append(driver(server, texts))
    limit = 3 * statistics.median(direct) + 1.5
    print(
        f"driver {statistics.median(direct):.2f} s; rehearsal cold {statistics.median(cold):.2f} s (limit {limit:.2f} s), warm template {statistics.median(warm):.2f} s (limit 1.5 s)"
    )
    print(
        f"processor time of a cold call: lockgate {min(client):.2f} s, server {min(servers):.2f} s (the less of two)"
    )
    print(f"first call, initdb and start of the server included: {cold[0]:.2f} s")


def children_seconds() -> float:
    """Processor time of the processes that this one has waited for."""
    return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def call(folder: Path, *arguments: str) -> float:
    """Seconds of the whole process."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "lockgate", "rehearse", *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - start


def driver(server: Embedded, texts: list[str]) -> float:
    """Seconds of the same files straight through the driver, one transaction each, a fresh database included."""
    start = time.perf_counter()
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("drop database if exists direct")
        connection.execute("create database direct")
    with psycopg.connect(server.url("direct"), autocommit=True) as connection:
        for text in texts:
            connection.execute(f"begin; {text} commit")
    return time.perf_counter() - start


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["history", "band"]
    with tempfile.TemporaryDirectory() as temporary:
        for name in wanted:
            place = Path(temporary, name)
            place.mkdir()
            {"history": history, "band": band}[name](place)
            found = Embedded.find(place / ".lockgate" / "rehearsal")
            if found is not None:
                found.stop()
