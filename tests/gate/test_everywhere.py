"""`up` over many databases: canary first, bounded, stops at the first failure, goes on after a kill."""

import os
import resource
import signal
from pathlib import Path

import psycopg
import pytest
from msgspec.structs import replace
from psycopg.conninfo import conninfo_to_dict

from gate.contracts import R, ask
from lockgate.config import Settings
from lockgate.postgres.target import Target
from lockgate.release.fan import FanOut
from lockgate.release.project import read_files
from support.calls import Project, finish
from support.processes import until

pytestmark = pytest.mark.postgres("18")


@pytest.fixture
def regions(tmp_path, databases):
    """A project with three regions on empty databases; `asia` is the canary."""
    project = Project(tmp_path)
    project.write("a", "CREATE TABLE a (id bigint PRIMARY KEY, x text);\n")
    lines = ['[env.live]\nurl_env = "EU"\ncanary = "asia"\n[env.live.regions]']
    for name in ("eu", "us", "asia"):
        lines.append(f'{name} = "{name.upper()}"')
        project.environ[name.upper()] = databases()
    project.configure("\n".join(lines) + "\n")
    return project


def everywhere(project, *arguments, code=0, **environ):
    answer = project.json("up", *arguments, **environ)
    assert answer.code == code, answer
    return answer.document("up-everywhere")


def test_all_regions(regions):
    """Every region is migrated, the canary first; the second call finds nothing to do; parity agrees."""
    first = everywhere(regions, "--env", "live", "--all-regions")
    assert list(first["places"]) == ["asia", "eu", "us"]
    assert first["counts"] == {"applied": 3}
    assert everywhere(regions, "--env", "live", "--all-regions")["counts"] == {"up to date": 3}
    assert regions.ok("parity", "parity", "--env", "live")["equal"]


def test_one_url_for_two_regions(regions):
    """A URL that was copied into two variables is refused before anything is applied, and parity calls it unknown."""
    eu = regions.environ["EU"]
    found = regions.json("up", "--env", "live", "--all-regions", US=eu)
    assert "us is the database of" in found.error("CONFIG")["message"]
    assert found.code == 2
    assert ask(eu, "SELECT to_regnamespace('lockgate')") == [(None,)]
    everywhere(regions, "--env", "live", "--all-regions")
    told = regions.json("parity", "--env", "live", US=eu)
    assert (told.code, told.document("parity")["regions"]["us"]["answer"]) == (5, "unknown")


def test_a_canary_that_fails_spares_the_rest(regions):
    """The canary's failure is the call's exit code, and no other region is touched."""
    everywhere(regions, "--env", "live", "--all-regions")
    ask(regions.environ["ASIA"], "CREATE TABLE b ()")
    regions.write("b", "CREATE TABLE b (id bigint PRIMARY KEY);\n")
    found = everywhere(regions, "--env", "live", "--all-regions", code=3)
    assert found["stoppedBy"] == "asia"
    assert [p["outcome"] for p in found["places"].values()] == ["failed", "not tried", "not tried"]
    assert found["places"]["asia"]["reasonCode"] == "MIGRATION_EXECUTION_FAILED"
    ask(regions.environ["ASIA"], "DROP TABLE b")
    assert everywhere(regions, "--env", "live", "--all-regions")["counts"] == {"applied": 3}


def test_no_more_at_once_than_asked_for(tenants):
    """Of eleven tenants behind the canary two are migrated at a time; the next one begins when one of them has ended."""
    project, urls = tenants
    project.write("b", "SELECT pg_advisory_xact_lock_shared(4711);\n")
    (canary, *held) = urls
    waiting = "SELECT d.datname FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE l.objid = 4711 AND NOT l.granted AND d.datname = ANY(%s)"
    begun = "SELECT to_regclass('lockgate.run') IS NOT NULL"
    holders = {name: psycopg.connect(urls[name]) for name in held}
    for holder in holders.values():
        holder.execute("SELECT pg_advisory_xact_lock(4711)")
    (project.root / "tenants").write_text("\n".join(urls))
    running = project.start("up", "--tenants", "tenants", "--concurrency", "2", "--format", "json")
    seen = []
    while held:
        want = min(2, len(held))
        now = until(lambda want=want: len(rows := ask(urls[canary], waiting, held)) == want and [name for (name,) in rows])  # fmt: skip
        assert sum(ask(urls[name], begun) == [(True,)] for name in held) == want
        seen.append(len(now))
        holders.pop(now[0]).close()
        held.remove(now[0])
        until(lambda name=now[0]: ask(urls[name], "SELECT 1 FROM lockgate.run WHERE state = 'succeeded' AND %s", True))  # fmt: skip
    assert finish(running).document("up-everywhere")["counts"] == {"applied": 12}
    assert seen == [2] * 10 + [1]


def test_one_that_fails_stops_those_behind_it(regions):
    """With one at a time the second failing leaves the third alone; mended, the call goes on with both."""
    found = everywhere(
        regions,
        "--env",
        "live",
        "--all-regions",
        "--concurrency",
        "1",
        code=69,
        EU="postgresql://u@127.0.0.1:1/none",
    )
    assert [p["outcome"] for p in found["places"].values()] == ["applied", "failed", "not tried"]
    again = everywhere(regions, "--env", "live", "--all-regions")
    assert [p["outcome"] for p in again["places"].values()] == ["up to date", "applied", "applied"]


def test_wrong_calls(regions):
    """Two ways to name the databases, a variable that is not set, a list that is empty: exit 2, nothing is touched."""
    assert regions.json("up", "--env", "live", "--all-regions", "--tenants", "x").code == 2
    assert regions.json("up", "--env", "live", "--all-regions", US="").code == 2
    assert regions.json("up", "--all-regions").code == 2
    assert regions.json("up", "--env", "live", "--tenants", "nowhere").code == 2
    assert regions.json("up", "--env", "live", "--tenants-query", "SELECT 'x' WHERE false").code == 2
    assert regions.json("up", "--env", "live", "--tenants-query", "SELEKT").code == 2
    query = ("--tenants-query", "SELECT unnest(ARRAY['x', 'y', 'y'])")
    twice = regions.json("up", *query, DATABASE_URL=regions.environ["ASIA"])
    assert twice.error("USAGE")["message"] == "named twice: y"
    assert regions.json("up", "--env", "live", "--all-regions", LOCKGATE_ROLE="app").code == 4
    assert ask(regions.environ["ASIA"], "SELECT to_regnamespace('lockgate')") == [(None,)]


@pytest.fixture
def tenants(tmp_path, database, databases):
    """(project, names): a project whose target knows twelve empty tenant databases."""
    project = Project(tmp_path, database)
    project.write("a", "CREATE TABLE a (id bigint PRIMARY KEY, x text);\n")
    urls = [databases() for _ in range(12)]
    names = [conninfo_to_dict(url)["dbname"] for url in urls]
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE tenant (name text)")
        connection.cursor().executemany("INSERT INTO tenant VALUES (%s)", [(name,) for name in names])
    return project, dict(zip(names, urls, strict=True))


def test_tenants(tenants):
    """Tenants by a query and by a file: each gets the files, one a database that exists by name."""
    project, urls = tenants
    found = everywhere(project, "--tenants-query", "SELECT name FROM tenant ORDER BY name")
    assert found["counts"] == {"applied": 12}
    assert all(
        ask(url, "SELECT max(revision_id) FROM lockgate.migration_history") == [(R[1],)]
        for url in urls.values()
    )
    (project.root / "tenants").write_text("# ours\n" + "\n".join(urls) + "\n")
    assert everywhere(project, "--tenants", "tenants")["counts"] == {"up to date": 12}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_goes_on_after_a_kill(tenants, number):
    """Killed or stopped in the middle, the same call goes on: every tenant ends with each file exactly once."""
    project, urls = tenants
    names = list(urls)
    project.write("b", "INSERT INTO a (id) VALUES (1);\n")
    with psycopg.connect(urls[names[5]]) as blocker:
        blocker.execute("CREATE TABLE a (id int)")  # uncommitted: the sixth tenant waits here
        running = project.start(
            "up", "--tenants-query", "SELECT name FROM tenant", "--concurrency", "2", "--format", "json"
        )
        until(
            lambda: (
                ask(urls[names[4]], "SELECT to_regclass('lockgate.migration_history') IS NOT NULL")
                == [(True,)]
            )
        )
        until(lambda: ask(urls[names[5]], "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted") == [(True,)])
        os.kill(running.pid, number)
        out, err = running.communicate(timeout=60)
        assert running.returncode == (-number if number == signal.SIGKILL else 128 + number), out + err
        blocker.rollback()
    found = everywhere(project, "--tenants-query", "SELECT name FROM tenant")
    assert set(found["counts"]) <= {"applied", "up to date"}
    assert sum(found["counts"].values()) == 12
    for url in urls.values():
        assert ask(url, "SELECT id FROM a") == [(1,)]
        assert ask(url, "SELECT count(*) FROM lockgate.migration_history") == [(2,)]


def test_no_descriptor_is_left(tmp_path, databases):
    """A run over many databases in one process leaves none open: a thousand tenants would run out of them."""
    made = Project(tmp_path)
    made.write("a", "CREATE TABLE a (id bigint PRIMARY KEY);\n")
    settings = replace(Settings(), root=tmp_path)
    targets = {f"t{n}": Target(databases(), source="test") for n in range(4)}

    def opened():
        return len(list(Path("/proc/self/fd").iterdir()))

    def up(some):
        found = FanOut(
            {name: targets[name] for name in some}, read_files(settings), settings, concurrency=2
        ).up()
        assert found.exit_code == 0, found

    up(["t0"])
    before = opened()
    up(["t1", "t2", "t3"])
    up(list(targets))
    assert opened() == before


def test_files_are_vetted_once_for_all(tmp_path, databases, monkeypatch):
    """Databases that lack the same files share one answer of the policy; those that lack others have one of their own."""
    from lockgate.release import judging, vetting

    asked, split = [], []
    judge, prepare = judging.judge_pending, vetting.prepare_files
    monkeypatch.setattr(
        judging, "judge_pending", lambda *a, **k: asked.append((a[1], k["fresh"])) or judge(*a, **k)
    )
    monkeypatch.setattr(vetting, "prepare_files", lambda files, s: split.extend(m.revision for m in files) or prepare(files, s))  # fmt: skip
    made = Project(tmp_path)
    made.write("a", "CREATE TABLE a (id bigint PRIMARY KEY);\n")
    settings = replace(Settings(), root=tmp_path)
    targets = {f"t{n}": Target(databases(), source="test") for n in range(5)}

    def up(*names):
        asked.clear(), split.clear()
        found = FanOut(
            {name: targets[name] for name in names}, read_files(settings), settings, concurrency=2
        ).up()
        assert (found.exit_code, {p.outcome for p in found.places.values()}) == (0, {"applied"}), found

    up("t0", "t1", "t2")
    assert asked == [(frozenset(R[1:2]), True)]
    made.write("b", "CREATE TABLE b (id bigint PRIMARY KEY);\n")
    up(*targets)
    assert sorted(asked, key=str) == sorted([(frozenset(R[2:3]), False), (frozenset(R[1:3]), True)], key=str)
    assert sorted(split) == list(R[1:3])
    made.write("c", "DROP TABLE nowhere;\n")
    found = FanOut(targets, read_files(settings), settings, concurrency=2).up()
    assert found.places["t0"].outcome == "failed"


def test_beyond_descriptor_1024(tmp_path, database):
    """With more than a thousand descriptors open a run waits as before."""
    made = Project(tmp_path)
    made.write("a", "CREATE TABLE a (id bigint PRIMARY KEY);\n")
    settings = replace(Settings(), root=tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        found = FanOut({"t": Target(database, source="test")}, read_files(settings), settings).up()
        assert found.exit_code == 0, found
    finally:
        for number in held:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


TENANTS = 200


def test_two_hundred_tenants(tmp_path, database, databases):
    """Two hundred tenants, killed with -9 half way and called again: every file once in every database, by what the databases say."""
    project = Project(tmp_path, database)
    project.write("a", "CREATE TABLE a (id bigint GENERATED ALWAYS AS IDENTITY, x text);\n")
    project.write("b", "INSERT INTO a (x) VALUES ('once');\n")  # no key stands in the way of a second time
    project.write("c", "-- lockgate: transaction=off\nCREATE INDEX CONCURRENTLY a_x ON a (x);\n")
    urls = [databases() for _ in range(TENANTS)]
    (tmp_path / "tenants").write_text("\n".join(str(conninfo_to_dict(url)["dbname"]) for url in urls) + "\n")
    call = ("--tenants", "tenants", "--concurrency", "8")
    running = project.start("up", *call)
    begun = "SELECT to_regclass('lockgate.migration_history') IS NOT NULL"
    until(lambda: ask(urls[TENANTS // 2], begun) == [(True,)], 300)
    running.kill()
    running.communicate()
    assert running.returncode == -signal.SIGKILL
    cut = [ask(url, begun) == [(True,)] for url in urls]
    assert TENANTS // 2 <= sum(cut) < TENANTS
    found = everywhere(project, *call)
    assert sum(found["counts"].values()) == TENANTS
    assert found["counts"]["applied"] >= cut.count(False)
    once = """SELECT (SELECT array_agg(revision_id ORDER BY ordinal) FROM lockgate.migration_history),
                     (SELECT array_agg(x) FROM a),
                     (SELECT array_agg(indexrelid::regclass::text || ' ' || indisvalid) FROM pg_index WHERE indrelid = 'a'::regclass),
                     (SELECT count(*) FROM lockgate.run WHERE state = 'running')"""
    for url in urls:
        assert ask(url, once) == [([R[1], R[2], R[3]], ["once"], ["a_x true"], 0)]
    assert everywhere(project, *call)["counts"] == {"up to date": TENANTS}
