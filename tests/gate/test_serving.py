"""`metrics` and `serve`: figures from the tables, valid, complete, without secrets, and there when databases are not."""

import json
import os
import shutil
import signal
import subprocess
import urllib.error
import urllib.request

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg.conninfo import make_conninfo

from gate.contracts import R, ask, write_contract
from lockgate.gate.parity import compare
from lockgate.postgres.metrics import Figure, Figures
from lockgate.postgres.parity import Sight
from lockgate.web.metrics import TABLE, Watched, exposition

pytestmark = pytest.mark.postgres("18")
STRICT = bool(os.environ.get("LOCKGATE_TESTS_STRICT"))  # read before the fixtures clear the environment


DELTA_S = "lockgate_index_delta_s_diff metric names should not contain abbreviated units"
"""promtool takes the S of delta-S for seconds; the name is a contract."""


def promtool(text):
    """Prometheus' own tool finds nothing wrong with ``text``."""
    program = shutil.which("promtool")
    if program is None:
        if STRICT:
            pytest.fail("promtool is not installed")
        pytest.skip("promtool is not installed")
    done = subprocess.run(
        [program, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    said = [line for line in (done.stdout + done.stderr).splitlines() if line != DELTA_S]
    assert (done.returncode in (0, 3), said) == (True, [])  # 3: it has something to say about style


def families(text):
    """Sample name → list of (labels, value), read by Prometheus' own parser."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_the_figures(applied, database):
    """Durations, runs, revision, pending files, attempts, waits and a service outside its window, each with its labels."""
    applied.write("d", "CREATE TABLE d (id bigint PRIMARY KEY);\n")
    path = write_contract(applied.root)
    assert applied.run("run", "--contract", path, "--service", "shop", "--", "true").code == 0
    assert (
        applied.run(
            "run",
            "--contract",
            write_contract(applied.root, 5, 6),
            "--service",
            "shop",
            "--timeout",
            "0",
            "--",
            "true",
        ).code
        == 1
    )
    ask(
        database,
        "INSERT INTO lockgate.instance (instance_id, service, schema_min, schema_max) VALUES ('i', 'old', %s, %s)",
        R[1],
        R[2],
    )
    ask(database, "UPDATE lockgate.fence SET compat_floor = %s", R[3])
    found = families(applied.ok("metrics", "metrics")["exposition"])
    assert found["lockgate_up"] == [({"env": "default"}, 1.0)]
    assert found["lockgate_schema_revision_info"] == [
        ({"env": "default", "region": "", "revision": R[3]}, 1.0)
    ]
    assert found["lockgate_pending_migrations"] == [({"env": "default"}, 1.0)]
    assert ({"env": "default", "phase": "expand", "outcome": "applied"}, 3.0) in found[
        "lockgate_migration_duration_seconds_count"
    ]
    assert ({"env": "default", "outcome": "succeeded", "reason": ""}, 1.0) in found[
        "lockgate_migration_runs_total"
    ]
    attempts = {
        (labels["outcome"], labels["reason"]): value
        for labels, value in found["lockgate_bootstrap_attempts_total"]
    }
    assert attempts == {("ready", "READY"): 1.0, ("refused", "BEHIND"): 1.0}
    assert found["lockgate_bootstrap_wait_seconds_count"] == [({"env": "default"}, 2.0)]
    assert [
        value for labels, value in found["lockgate_bootstrap_wait_seconds_bucket"] if labels["le"] == "+Inf"
    ] == [2.0]
    assert ({"env": "default", "service": "old", "kind": "ahead_too_far"}, 1.0) in found[
        "lockgate_revision_mismatch"
    ]


def test_promtool_on_every_metric():
    """Every metric that there is, each with a figure, passes promtool: names, units, help texts, types."""
    rows = [Figure(name, dict.fromkeys(row.labels, "x"), 1.0) for name, row in TABLE.items()]
    rows += [
        Figure(f"migration_duration_{part}", {"phase": "expand", "outcome": "applied"}, 2.0)
        for part in ("count", "sum")
    ]
    rows += [Figure(f"lock_wait_{part}", {}, 1.0) for part in ("count", "sum")]
    rows += [
        Figure("wait_count", {}, 2.0),
        Figure("wait_sum", {}, 0.3),
        Figure("wait_bucket", {"le": "0.5"}, 1.0),
    ]
    parity = compare({"eu": Sight("seen", revision="1"), "us": Sight("unreachable", "gone")})
    text = exposition([Watched("live", Figures(True, tuple(rows)), 1, parity)]).decode()
    promtool(text)
    named = {name.removesuffix("_total") for name in families(text)}
    for metric in (
        *(row.metric for row in TABLE.values()),
        "lockgate_parity_ok",
        "lockgate_parity_unreachable",
    ):
        assert metric in named


def test_waits_for_locks_are_counted(applied, database):
    """A run that stood in a lock queue leaves its seconds in the tables, and the metric has them."""
    applied.configure('[migrations]\nlock_timeout = "1s"\nlock_retries = 0\n')
    applied.write("late", "ALTER TABLE a ADD COLUMN late int;\n")
    with psycopg.connect(database) as reader:
        reader.execute("SELECT * FROM a")
        assert applied.run("up").code == 3
    found = families(applied.ok("metrics", "metrics")["exposition"])
    assert found["lockgate_lock_wait_seconds_count"] == [({"env": "default"}, 1.0)]
    assert 0.2 <= found["lockgate_lock_wait_seconds_sum"][0][1] <= 30
    assert found["lockgate_lock_failures_total"] == [({"env": "default", "reason": "LOCK_TIMEOUT"}, 1.0)]


def test_the_lag_of_a_move(applied, database):
    """The age of the oldest captured write, from the outbox of the move; none captured is no lag."""
    ask(
        database,
        "INSERT INTO lockgate.move (name, stage, declaration, declaration_hash, source_oid, target_oid, same_database, operator)"
        " VALUES ('orders', 'tail', '{}', '', 0, 0, true, 'o')",
    )
    ask(
        database,
        'CREATE TABLE lockgate."outbox_orders_forward" (at timestamptz NOT NULL DEFAULT clock_timestamp())',
    )
    assert families(applied.ok("metrics", "metrics")["exposition"])["lockgate_move_lag_seconds"] == [
        ({"env": "default", "move": "orders"}, 0.0)
    ]
    ask(database, "INSERT INTO lockgate.\"outbox_orders_forward\" VALUES (now() - interval '90 s'), (now())")
    ((_, lag),) = families(applied.ok("metrics", "metrics")["exposition"])["lockgate_move_lag_seconds"]
    assert 90 <= lag <= 600


def test_a_killed_process_loses_none(applied, database):
    """A run that is killed with -9 is counted all the same, because the figures come from the tables."""
    applied.write("slow", "SELECT pg_sleep(60);\n")
    from support.processes import until

    running = applied.start("up")
    until(lambda: ask(database, "SELECT count(*) FROM lockgate.run WHERE state = 'running'") == [(1,)])
    running.kill()
    running.communicate()
    found = families(applied.ok("metrics", "metrics")["exposition"])
    assert {labels["outcome"] for labels, _ in found["lockgate_migration_runs_total"]} == {
        "succeeded",
        "running",
    }


def test_regions_and_lost_environments(applied, database, databases):
    """Parity of each kind, unreachable regions, an environment whose database is gone: figures for all, one scrape."""
    applied.environ = {"EU": database, "US": databases()}
    applied.configure(
        '[env.live]\nurl_env = "EU"\n[env.live.regions]\neu = "EU"\nus = "US"\n[env.gone]\nurl_env = "GONE"\n'
    )
    found = families(applied.ok("metrics", "metrics", GONE="postgresql://u@127.0.0.1:1/none")["exposition"])
    assert {labels["env"]: value for labels, value in found["lockgate_up"]} == {"live": 1.0, "gone": 0.0}
    kinds = {labels["kind"]: value for labels, value in found["lockgate_parity_ok"]}
    assert kinds["revision"] == 0.0
    assert kinds["secrets"] == 1.0
    assert found["lockgate_parity_unreachable"] == [({"env": "live"}, 0.0)]
    assert {labels["region"] for labels, _ in found["lockgate_schema_revision_info"]} == {"", "eu", "us"}


def test_a_textfile_is_whole_or_not_there(applied):
    """--textfile writes a file that a collector can read at any moment; a folder that cannot be written is exit 2."""
    assert applied.run("metrics", "--textfile", "lockgate.prom").code == 0
    text = (applied.root / "lockgate.prom").read_text()
    assert "lockgate_up" in families(text)
    promtool(text)
    assert applied.run("metrics", "--textfile", "/proc/nowhere/x.prom").code == 2


@pytest.fixture
def served(applied, database):
    """(base URL, process) of `lockgate serve` whose URL holds a password."""
    url = make_conninfo(database, password="c4n4ry-secret")
    process = applied.start("serve", "--port", "0", "--format", "json", DATABASE_URL=url)
    document = ""
    while not document.endswith("}\n"):
        document += process.stdout.readline()
    yield json.loads(document)["url"], process
    process.kill()
    process.communicate()


def fetch(url):
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.status, dict(answer.headers), answer.read().decode()


def test_serve(served):
    """The page, /metrics in Prometheus' format, health; nothing of the password anywhere; SIGTERM ends it."""
    base, process = served
    status, headers, text = fetch(base + "metrics")
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert families(text)["lockgate_up"] == [({"env": "default"}, 1.0)]
    promtool(text)
    _, headers, page = fetch(base)
    assert R[3] in page
    assert "default-src 'none'" in headers["content-security-policy"]
    assert fetch(base + "healthz")[1]["content-type"] == "application/health+json"
    assert fetch(base + "livez")[0] == 200
    with pytest.raises(urllib.error.HTTPError):
        fetch(base + "../../etc/passwd")
    assert "c4n4ry" not in text + page
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) in (0, -signal.SIGTERM, 143)
    assert "c4n4ry" not in process.communicate()[1]


def test_a_port_that_is_taken(applied, served):
    """A port that somebody listens on is exit 2, with the port named."""
    port = served[0].rstrip("/").rpartition(":")[2]
    assert port in applied.json("serve", "--port", port).error("USAGE")["message"]
