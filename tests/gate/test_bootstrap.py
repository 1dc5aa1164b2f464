"""`bootstrap`: a declared graph, one journalled run, deadlines that hold while a step hangs, and going on after a stop."""

import os
import signal
import uuid

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from gate.contracts import R, ask, write_contract
from lockgate.config.bootstrap import BootstrapStep, bootstrap_problems, order
from support.calls import finish
from support.processes import lives, until

NAMES = st.sampled_from("abcdef")


@given(st.dictionaries(NAMES, st.lists(NAMES, max_size=3), min_size=1))
def test_a_graph_is_refused_or_has_an_order(graph):
    """Any graph: either its problem is named (an unknown need, a circle), or the order puts every need first."""
    steps = {name: BootstrapStep("roles", tuple(needs)) for name, needs in graph.items()}
    if not bootstrap_problems(steps):
        found = order(steps)
        assert sorted(found) == sorted(steps)
        assert all(
            found.index(need) < found.index(name) for name, step in steps.items() for need in step.needs
        )
    else:
        reachable = {name: set(needs) for name, needs in graph.items()}
        for _ in graph:
            reachable = {n: ns | {m for x in ns for m in reachable.get(x, ())} for n, ns in reachable.items()}
        unknown = any(need not in graph for needs in graph.values() for need in needs)
        assert unknown or any(name in needs for name, needs in reachable.items())


pg = pytest.mark.postgres("18")


@pytest.fixture
def live(project, database):
    """(project, configure): an environment `live`; `configure` writes its graph. Its roles have names of their own."""
    tail = uuid.uuid4().hex[:8]
    names = [f"{part}_{tail}" for part in ("owner", "mig", "app", "reader")]
    roles = "".join(
        f'{key} = "{name}"\n' for key, name in zip(("owner", "migrator", "app", "reader"), names, strict=True)
    )
    project.environ = {"LIVE": database}

    def configure(graph: str = "") -> None:
        project.configure(f'[env.live]\nurl_env = "LIVE"\n[roles]\n{roles}{graph}')

    configure()
    yield project, configure
    with psycopg.connect(database, autocommit=True) as admin:
        for name in reversed(names):
            if admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone():
                admin.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(name)))
                admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def up(project, **environ):
    return project.ok("bootstrap", "bootstrap", "--env", "live", **environ)


@pg
def test_an_empty_database_becomes_an_environment(live, database):
    """Secrets, roles, an extension, migrations, the contract with its probes: in the declared order, sealed at the end."""
    project, configure = live
    write_contract(
        project.root, probes=[{"name": "table", "kind": "sql", "sql": "SELECT count(*) = 0 FROM a"}]
    )
    configure(
        '[bootstrap.gate]\nkind = "gate"\nneeds = ["schema", "secrets"]\ncontract = "lockgate.contract.json"\n'
        '[bootstrap.secrets]\nkind = "secrets"\nsecrets = ["db=env:DB_SECRET"]\n'
        '[bootstrap.roles]\nkind = "roles"\n'
        '[bootstrap.extensions]\nkind = "extensions"\nneeds = ["roles"]\nextensions = ["vector"]\n'
        '[bootstrap.schema]\nkind = "migrations"\nneeds = ["extensions"]\n'
        '[bootstrap.hello]\nkind = "command"\nneeds = ["gate", "answers"]\ncommand = ["true"]\n'
        '[bootstrap.answers]\nkind = "probes"\nneeds = ["gate"]\nprobes = [{name = "t", kind = "sql", sql = "SELECT count(*) = 0 FROM a"}]\n'
    )
    first = up(project, DB_SECRET="c4n4ry-secret")
    assert list(first["steps"]) == ["secrets", "roles", "extensions", "schema", "gate", "answers", "hello"]
    assert {step["outcome"] for step in first["steps"].values()} == {"done"}
    assert ask(
        database, "SELECT environment, schema_revision, digest FROM lockgate.environment_revision"
    ) == [("live", R[3], first["environmentDigest"])]
    with pytest.raises(psycopg.Error):
        ask(database, "UPDATE lockgate.environment_revision SET digest = ''")
    again = up(project, DB_SECRET="c4n4ry-secret")
    assert again["environmentDigest"] == first["environmentDigest"]
    assert not again["resumed"]
    assert "c4n4ry" not in str(
        ask(database, "SELECT * FROM lockgate.environment_revision, lockgate.bootstrap_step")
    )


@pg
def test_it_goes_on_where_it_failed(live, database):
    """A step that fails leaves those before it done and those after it alone; mended, the same run goes on there."""
    project, configure = live
    configure(
        '[bootstrap.schema]\nkind = "migrations"\n[bootstrap.flag]\nkind = "command"\nneeds = ["schema"]\ncommand = ["test", "-e", "flag"]\n'
    )
    failed = project.json("bootstrap", "--env", "live").error("BOOTSTRAP_FAILED")
    assert failed["exitCode"] == 3
    steps = failed["details"]["steps"]
    assert (steps["schema"]["outcome"], steps["flag"]["outcome"]) == ("done", "failed")
    assert ask(database, "SELECT count(*) FROM lockgate.environment_revision") == [(0,)]
    (project.root / "flag").write_text("x")
    done = up(project)
    assert done["resumed"]
    assert done["runId"] == failed["details"]["runId"]
    assert (done["steps"]["schema"]["outcome"], done["steps"]["flag"]["outcome"]) == ("done", "done")
    assert done["steps"]["schema"]["evidence"].startswith("0 applied")


@pg
def test_what_was_done_is_done_for_the_same_only(live, database):
    """A run that goes on applies a file that came since, and runs a command whose call was changed; an unchanged command it ran is left alone."""
    project, configure = live
    graph = (
        '[bootstrap.schema]\nkind = "migrations"\n[bootstrap.seed]\nkind = "command"\nneeds = ["schema"]\ncommand = ["sh", "-c", "echo {} >> seeds"]\n'
        '[bootstrap.flag]\nkind = "command"\nneeds = ["seed"]\ncommand = ["test", "-e", "flag"]\n'
    )
    configure(graph.format("one"))
    project.json("bootstrap", "--env", "live").error("BOOTSTRAP_FAILED")
    project.json("bootstrap", "--env", "live").error("BOOTSTRAP_FAILED")
    assert (project.root / "seeds").read_text() == "one\n"
    later = project.write("later", "CREATE TABLE later (id bigint PRIMARY KEY);\n")
    configure(graph.format("two"))
    (project.root / "flag").write_text("x")
    done = up(project)
    assert done["resumed"]
    assert done["steps"]["schema"]["evidence"] == f"1 applied, now at {later}"
    assert (project.root / "seeds").read_text() == "one\ntwo\n"


@pg
def test_it_goes_on_after_a_kill(live, database):
    """Killed while a step runs, the next call goes on with that step, and the schema is there once."""
    project, configure = live
    configure(
        '[bootstrap.schema]\nkind = "migrations"\n[bootstrap.slow]\nkind = "command"\nneeds = ["schema"]\ncommand = ["sh", "-c", "test -e go || sleep 60"]\n'
    )
    running = project.start("bootstrap", "--env", "live")
    until(lambda: ask(database, "SELECT to_regclass('lockgate.bootstrap_step') IS NOT NULL") == [(True,)])
    until(
        lambda: (
            ask(database, "SELECT state FROM lockgate.bootstrap_step WHERE step = 'slow'") == [("running",)]
        )
    )
    beat = "SELECT beat_at > started_at FROM lockgate.bootstrap_step WHERE step = 'slow'"
    until(lambda: ask(database, beat) == [(True,)])
    busy = project.json("bootstrap", "--env", "live")
    assert busy.error("LOCK_BUSY")["exitCode"] == 75, "one owner at a time"
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    (project.root / "go").write_text("x")
    until(lambda: project.run("bootstrap", "--env", "live").code == 0)
    assert ask(database, "SELECT count(*) FROM lockgate.migration_history") == [(3,)]


@pg
def test_a_step_that_hangs_is_seen(live, database):
    """A step over its deadline is a stall, told while it hangs, for a command with all it started as for a migration behind a lock."""
    project, configure = live
    configure(f'[bootstrap.stuck]\nkind = "command"\ndeadline = "1s"\ncommand = {STARTS_ANOTHER}\n')
    assert stalled(project, "stuck")
    until(lambda: not lives(int((project.root / "pid").read_text())))
    assert project.run("up", DATABASE_URL=database).code == 0
    project.write("more", "ALTER TABLE a ADD COLUMN more int;\n")
    configure('[bootstrap.schema]\nkind = "migrations"\ndeadline = "2s"\n')
    with psycopg.connect(database) as holder:
        holder.execute("LOCK TABLE a IN ACCESS SHARE MODE")
        assert stalled(project, "schema")
    configure('[bootstrap.schema]\nkind = "migrations"\n')
    assert up(project)["steps"]["schema"]["outcome"] == "done", "nothing of it hangs on"


STARTS_ANOTHER = """["sh", "-c", "sleep 600 & echo $! > pid; wait"]"""


def stalled(project, step):
    failed = project.json("bootstrap", "--env", "live").error("BOOTSTRAP_FAILED")
    return failed["details"]["steps"][step]["reasonCode"] == "BOOTSTRAP_STALLED"


@pg
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_step_under_way(live, database, number, code):
    """A command is ended with all it started, a migration is rolled back; both are told, and the next call goes on there."""
    project, configure = live
    schema = '[bootstrap.schema]\nkind = "migrations"\n'
    configure(schema + f'[bootstrap.slow]\nkind = "command"\nneeds = ["schema"]\ncommand = {STARTS_ANOTHER}\n')  # fmt: skip
    running = project.start("bootstrap", "--env", "live", "--format", "json")
    until(lambda: (project.root / "pid").exists() and (project.root / "pid").read_text().strip())
    running.send_signal(number)
    stopped = finish(running).error("CANCELLED")
    assert stopped["exitCode"] == code
    assert [step["outcome"] for step in stopped["details"]["steps"].values()] == ["done", "failed"]
    assert not lives(int((project.root / "pid").read_text()))
    assert ask(database, "SELECT step, state FROM lockgate.bootstrap_step ORDER BY step") == [("schema", "done"), ("slow", "failed")]  # fmt: skip
    configure(schema + '[bootstrap.slow]\nkind = "command"\nneeds = ["schema"]\ncommand = ["true"]\n')
    assert [step["outcome"] for step in up(project)["steps"].values()] == ["done", "done"]
    project.write("slow", "CREATE TABLE d (id bigint PRIMARY KEY);\nSELECT pg_sleep(600);\n")
    configure(schema)
    running = project.start("bootstrap", "--env", "live", "--format", "json")
    until(lambda: ask(database, "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%%pg_sleep(600)%%' AND application_name LIKE 'lockgate/work%%' AND state = 'active' AND %s", True))  # fmt: skip
    running.send_signal(number)
    assert finish(running).error("CANCELLED")["exitCode"] == code
    assert ask(database, "SELECT to_regclass('d') IS NULL") == [(True,)]


@pg
def test_indexes_and_probes_are_conditions(live, database):
    """An index without a live, sealed, valid generation is named; a probe that is down is asked until the deadline; both mended, the run goes on."""
    project, configure = live
    configure(
        '[bootstrap.schema]\nkind = "migrations"\n[bootstrap.search]\nkind = "indexes"\nneeds = ["schema"]\nindexes = ["docs"]\n'
        '[bootstrap.flag]\nkind = "probes"\nneeds = ["search"]\ndeadline = "1s"\nprobes = [{name = "flag", kind = "file", path = "'
        + str(project.root / "flag")
        + '"}]\n'
    )
    failed = project.json("bootstrap", "--env", "live").error("BOOTSTRAP_FAILED")
    assert failed["details"]["steps"]["search"]["reasonCode"] == "GATE_CLOSED"
    assert "docs" in failed["message"]
    ask(
        database,
        "INSERT INTO lockgate.live_index (name, generation, spec_hash, index_hash) VALUES ('docs', 'g1', 's', 'h')",
    )
    failed = project.json("bootstrap", "--env", "live").error("BOOTSTRAP_FAILED")
    assert failed["details"]["steps"]["flag"]["reasonCode"] == "PROBE_DOWN"
    (project.root / "flag").write_text("x")
    assert {s["outcome"] for s in up(project)["steps"].values()} == {"done"}


@pg
def test_what_is_unreachable_is_tried_again(live, databases, server):
    """A region that is not there yet is waited for within the step's deadline, without a person."""
    project, _ = live
    other = databases()
    name = conninfo_to_dict(other)["dbname"]
    text = (project.root / "lockgate.toml").read_text()
    project.configure(
        text
        + '[env.live.regions]\neu = "LIVE"\nus = "US"\n[bootstrap.schema]\nkind = "migrations"\n[bootstrap.parity]\nkind = "parity"\nneeds = ["schema"]\n'
    )
    assert project.run("up", DATABASE_URL=other).code == 0

    def switch(word: str) -> None:
        with psycopg.connect(server.url(), autocommit=True) as admin:
            admin.execute(
                sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(sql.Identifier(name), sql.SQL(word))
            )

    switch("false")
    running = project.start("bootstrap", "--env", "live", US=other)
    try:
        for line in running.stderr:
            if line.startswith("parity: again"):
                break
    finally:
        switch("true")
    _, err = running.communicate(timeout=60)
    assert running.returncode == 0, err


@pg
def test_regions_that_are_not_equal(live, databases):
    """A region at another revision, or one that nobody answers for, is the named reason why the parity step failed."""
    project, _ = live
    text = (project.root / "lockgate.toml").read_text()
    project.configure(
        text
        + '[env.live.regions]\neu = "LIVE"\nus = "US"\n[bootstrap.schema]\nkind = "migrations"\n'
        + '[bootstrap.parity]\nkind = "parity"\nneeds = ["schema"]\ndeadline = "2s"\n'
    )
    for url, code in (
        (databases(), "PARITY_MISMATCH"),
        ("postgresql://nobody@127.0.0.1:1/none", "REGION_UNREACHABLE"),
    ):
        failed = project.json("bootstrap", "--env", "live", US=url).error("BOOTSTRAP_FAILED")
        assert failed["details"]["steps"]["parity"]["reasonCode"] == code, failed


@pg
def test_wrong_graphs(live):
    """A circle, an unknown need, an unknown kind, a part that is missing or belongs elsewhere: exit 2 at load, named."""
    project, configure = live
    for graph, named in (
        (
            '[bootstrap.a]\nkind = "roles"\nneeds = ["b"]\n[bootstrap.b]\nkind = "roles"\nneeds = ["a"]\n',
            "circle",
        ),
        ('[bootstrap.a]\nkind = "roles"\nneeds = ["b"]\n', "bootstrap.a.needs"),
        ('[bootstrap.a]\nkind = "magic"\n', "bootstrap.a.kind"),
        ('[bootstrap.a]\nkind = "command"\n', "bootstrap.a.command"),
        ('[bootstrap.a]\nkind = "indexes"\n', "bootstrap.a.indexes"),
        ('[bootstrap.a]\nkind = "roles"\ncommand = ["x"]\n', "bootstrap.a.command"),
        ('[bootstrap.a]\nkind = "roles"\ndeadline = "soon"\n', "bootstrap.a.deadline"),
    ):
        configure(graph)
        assert named in project.json("bootstrap", "--env", "live").error("CONFIG")["message"]
    configure()
    assert project.json("bootstrap").code == 2
