"""lockgate inside pytest, Django, Celery and FastAPI."""

import os
import subprocess
import sys

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from gate.contracts import R, ask, configure_django, contract, write_contract
from lockgate.gate import Gate
from support.processes import until

pytestmark = pytest.mark.postgres("18")

_SUITE = """
import psycopg
def test_one(lockgate_db):
    with psycopg.connect(lockgate_db) as c:
        c.execute("insert into a (id) values (1)")
        assert c.execute("select count(*) from a").fetchone() == (1,)
def test_two(lockgate_db):
    with psycopg.connect(lockgate_db) as c:
        assert c.execute("select count(*) from a").fetchone() == (0,)
"""


def suite(project, server_url, *options):
    (project.root / "test_suite.py").write_text(_SUITE)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "lockgate.plugins.pytest_plugin", "-p", "no:cacheprovider", "-q", "test_suite.py", *options],
        cwd=project.root, env={**os.environ, "PYTEST_ADDOPTS": "", "LOCKGATE_TEST_URL": server_url}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def templates(server_url):
    return {
        row[0]
        for row in ask(
            server_url,
            "SELECT datname FROM pg_database WHERE datname LIKE 'lockgate_template_%%' AND datistemplate AND %s",
            True,
        )
    }


def test_a_database_for_every_test(project, server):
    """Each test gets a migrated database that no other test has seen; the template is made once, also by two workers; nothing is left."""
    url = server.url()
    before = templates(url)
    project.write("unlike_any_other", f"COMMENT ON TABLE a IS '{os.urandom(4).hex()}';\n")
    done = suite(project, url, "-n", "2")
    assert "2 passed" in done.stdout, done.stdout + done.stderr
    (made,) = templates(url) - before
    again = suite(project, url)
    assert "2 passed" in again.stdout, again.stdout + again.stderr
    assert templates(url) - before == {made}
    assert ask(url, "SELECT count(*) FROM pg_database WHERE datname LIKE 'lg_test_%%' AND %s", True) == [(0,)]
    ask(url, f'ALTER DATABASE "{made}" IS_TEMPLATE false')
    third = suite(project, url)
    assert "2 passed" in third.stdout, "half made: made anew"
    ask(url, f'ALTER DATABASE "{made}" IS_TEMPLATE false')
    ask(url, f'DROP DATABASE "{made}"')


def test_the_server_of_tests_is_a_throw_away_one(project):
    """Without LOCKGATE_TEST_URL the tests get a server of their own that waits for no disk; `embedded stop` ends it."""
    (project.root / "test_where.py").write_text(
        "import psycopg\ndef test_where(lockgate_db):\n"
        "    with psycopg.connect(lockgate_db) as c:\n        assert c.execute('show fsync').fetchone() == ('off',)\n"
    )
    try:
        done = suite(project, "", "test_where.py", "-k", "where")
        assert "1 passed" in done.stdout, done.stdout + done.stderr
        assert not (project.root / ".lockgate" / "v18").exists()
    finally:
        assert project.text("embedded", "stop").out == "stopped\n"


def test_django_check(applied, database):
    """The check is silent where all passes, an error for a definite no, a warning for what cannot be told, and asks for databases only."""
    from lockgate.plugins.django import messages, register

    assert messages(contract(), database, 5) == []
    (error,) = messages(contract(5, 6), database, 5)
    assert (error.id, error.level >= 40, "BEHIND" in error.msg) == ("lockgate.E001", True, True)
    (warning,) = messages(contract(), "postgresql://u@127.0.0.1:1/none", 5)
    assert warning.id == "lockgate.W001"
    (wrong,) = messages(contract(), "", 5)
    assert wrong.id == "lockgate.E002"
    from django.core.checks import run_checks

    configure_django()

    register(contract(5, 6), database_url=database)
    from django.core.checks.registry import registry

    assert [
        m.id for m in run_checks(tags=["database"], databases=["default"]) if m.id.startswith("lockgate")
    ] == ["lockgate.E001"]
    assert run_checks(tags=["database"]) == []
    registry.registered_checks = {c for c in registry.registered_checks if c.__name__ != "lockgate_gate"}


_MANAGE = """
import os, sys
from django.apps import AppConfig
from django.conf import settings
from django.core.management import execute_from_command_line
from lockgate.gate import Contract
from lockgate.plugins.django import register

class Shop(AppConfig):
    name = "shop"
    def ready(self):
        register(Contract.from_file("lockgate.contract.json"))

if __name__ == "__main__":
    settings.configure(INSTALLED_APPS=["shop.Shop"], SECRET_KEY="x", DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
    execute_from_command_line(sys.argv)
"""


def test_manage_check(project, database):
    """`manage.py check --database default` of a project fails before the migrations and passes after them; without --database it looks at none."""
    (project.root / "manage.py").write_text(_MANAGE)
    (project.root / "shop").mkdir()
    (project.root / "shop" / "__init__.py").write_text("from manage import Shop\n")
    write_contract(project.root)

    def check(*arguments):
        call = [sys.executable, "manage.py", "check", *arguments]
        return subprocess.run(call, cwd=project.root, env={**os.environ, "DATABASE_URL": database}, capture_output=True, text=True, check=False)  # fmt: skip

    closed = check("--database", "default")
    assert (closed.returncode, "(lockgate.E001)" in closed.stderr, "BEHIND" in closed.stderr) == (1, True, True), closed  # fmt: skip
    assert check().returncode == 0
    assert project.run("up").code == 0
    assert check("--database", "default").returncode == 0


_WORKER = """
import os
from celery import Celery
from lockgate.gate import Contract, Gate
from lockgate.plugins.celery import gate_worker
app = Celery("shop", broker="memory://")
gate_worker(app, Gate(Contract.from_environment(), os.environ["DATABASE_URL"], service="worker", interval=0.5), timeout=float(os.environ.get("WAIT", "60")))
"""


def worker(project, **environ):
    (project.root / "shop_worker.py").write_text(_WORKER)
    return subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "shop_worker", "worker", "-P", "solo", "-l", "INFO", "--without-gossip", "--without-mingle", "--without-heartbeat"],
        cwd=project.root, env={**os.environ, **project.environ, "LOCKGATE_CONTRACT": write_contract(project.root), "C_FORCE_ROOT": "1", **environ},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def test_a_celery_worker_waits(project, database):
    """Started before the migrations a worker takes nothing; once they are applied it registers and is ready; stopped it signs off."""
    process = worker(project)
    try:
        assert project.run("up").code == 0
        for line in process.stdout:
            if "ready." in line:
                break
        else:
            pytest.fail("the worker ended")
        assert ask(database, "SELECT service FROM lockgate.instance") == [("worker",)]
    finally:
        process.terminate()
        process.communicate(timeout=30)
    until(lambda: ask(database, "SELECT count(*) FROM lockgate.instance") == [(0,)])


def test_a_celery_worker_gives_up(project):
    """A gate that stays closed ends the worker with an exit code that is not 0."""
    process = worker(project, WAIT="0.5")
    out, _ = process.communicate(timeout=60)
    assert process.returncode != 0, out
    assert "ready." not in out


_RQ = """
import os
from fakeredis import FakeStrictRedis
from rq import Queue, SimpleWorker
from lockgate.gate import Contract, Gate
from lockgate.plugins.rq import gated
redis = FakeStrictRedis()
job = Queue(connection=redis).enqueue(os.getpid)
gate = Gate(Contract.from_environment(), os.environ["DATABASE_URL"], service="rq", interval=0.5)
worker = gated(SimpleWorker, gate, timeout=float(os.environ.get("WAIT", "60")))(["default"], connection=redis)
print("waiting", job.get_status().value, flush=True)
worker.work(burst=True, logging_level="ERROR")
print("worked", job.get_status(refresh=True).value)
"""


def rq_worker(project, **environ):
    return subprocess.Popen(
        [sys.executable, "-c", _RQ],
        cwd=project.root,
        env={**os.environ, **project.environ, "LOCKGATE_CONTRACT": write_contract(project.root), **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_an_rq_worker_waits(project, database):
    """Started before the migrations it takes no job; once they are applied it works, and signs off; a gate that stays closed ends it with 1."""
    process = rq_worker(project)
    assert "queued" in process.stdout.readline()
    assert project.run("up").code == 0
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, "worked finished" in out) == (0, True), out
    assert ask(database, "SELECT count(*) FROM lockgate.instance") == [(0,)]
    late = rq_worker(project, WAIT="0.5", DATABASE_URL="postgresql://u@127.0.0.1:1/none")
    out, _ = late.communicate(timeout=60)
    assert (late.returncode, "worked" in out) == (1, False), out


def test_a_fastapi_lifespan(applied, database):
    """Without the middleware a lifespan holds the application back until the gate is open, and signs it off."""
    from contextlib import asynccontextmanager

    from fastapi import FastAPI
    from starlette.testclient import TestClient

    gate = Gate(contract(), database, service="api")

    @asynccontextmanager
    async def lifespan(app):
        import asyncio

        if not await asyncio.to_thread(gate.wait, 60):
            raise RuntimeError(gate.report.answer)
        yield
        await asyncio.to_thread(gate.stop)

    with TestClient(FastAPI(lifespan=lifespan)):
        assert ask(database, "SELECT service FROM lockgate.instance") == [("api",)]
    assert ask(database, "SELECT count(*) FROM lockgate.instance") == [(0,)]


def test_a_plain_worker_loop(applied, database):
    """RQ and plain loops: the gate is a context manager, and `open` says whether to take the next job."""
    with Gate(contract(), make_conninfo(database), service="loop", interval=0.3) as gate:
        assert gate.wait(30)
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("UPDATE lockgate.fence SET compat_floor = %s", [R[9]])
        until(lambda: not gate.open)
