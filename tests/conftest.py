"""Fixtures for every test: real servers, fresh databases, a clean environment.

- ``server``     the session's PostgreSQL; a test that uses it runs once on each of 16, 18 and the machine's own
                 (``@pytest.mark.postgres("18")`` restricts the test, ``--postgres 18`` the whole run).
- ``database``   the URL of a fresh empty database on ``server``. Dropped after the test; kept when the test
                 fails, and the report then says how to connect.
- ``databases``  a factory of such URLs, for tests that need more than one.
- ``own_server`` a factory of private servers that the test may crash.
"""

import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lockgate.postgres.embedded import Embedded
from support import servers

_RUN = pytest.StashKey[Path]()
_IN_USE = pytest.StashKey[int]()
_FAILED = pytest.StashKey[bool]()
_SECTION = "kept database"
_KEPT = pytest.StashKey[list[str]]()
_ENVIRONMENT = re.compile(r"DATABASE_URL|LOCKGATE_.*|PG[A-Z]+|MIGRATION_.*|NO_COLOR|FORCE_COLOR")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--postgres`` chooses the servers to test on."""
    parser.addoption(
        "--postgres",
        default=",".join(servers.LABELS),
        help="comma-separated servers to test on: 16, 18, machine (default: all that are here)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Leave out the long runs; give the run a directory for all its workers; clear what dead runs left."""
    config.addinivalue_line(
        "markers", "postgres(*labels): the servers this test runs on, of 16, 18 and machine"
    )
    if "soak" not in config.option.markexpr:  # long runs only when asked for: -m soak
        asked = config.option.markexpr
        config.option.markexpr = f"({asked}) and not soak" if asked else "not soak"
    worker = getattr(config, "workerinput", None)
    if worker:
        config.stash[_RUN] = Path(worker["lockgate_run"])
    else:
        servers.sweep()
        config.stash[_RUN] = servers.session_path(uuid.uuid4().hex[:8])
        config.stash[_IN_USE] = servers.begin_session(config.stash[_RUN])


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """Tell an xdist worker the directory of the run."""
    node.workerinput["lockgate_run"] = str(node.config.stash[_RUN])  # type: ignore[attr-defined]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the servers when the last worker is done; with failures they stay up for a look until they are idle."""
    if _IN_USE not in config.stash:
        return
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    stats = reporter.stats if reporter else {}
    bad = [*stats.get("failed", []), *stats.get("error", [])]
    keep = any(_SECTION in dict(report.sections) for report in bad)
    servers.end_session(config.stash[_RUN], keep=keep)
    os.close(config.stash[_IN_USE])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests of a server on each of the chosen ones."""
    if "postgres_label" not in metafunc.fixturenames:
        return
    mark = metafunc.definition.get_closest_marker("postgres")
    wanted = [label for label in (mark.args if mark else servers.LABELS) if label in chosen(metafunc.config)]
    metafunc.parametrize("postgres_label", wanted, scope="session")


def chosen(config: pytest.Config) -> list[str]:
    """The labels of ``--postgres`` that this machine has."""
    asked = str(config.getoption("--postgres")).split(",")
    unknown = set(asked) - set(servers.LABELS)
    if unknown:
        raise pytest.UsageError(
            f"--postgres: {', '.join(sorted(unknown))} is none of {', '.join(servers.LABELS)}"
        )
    return [label for label in servers.LABELS if label in asked and servers.binaries(label)]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Remember a failure for the fixtures, and print how to connect to the databases of the failed test."""
    report = yield
    if report.failed and call.when != "teardown":
        item.stash[_FAILED] = True
        if urls := item.stash.get(_KEPT, []):
            lines = [f'psql "{url}"' for url in urls]
            report.sections.append((_SECTION, "\n".join(lines)))
    return report


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine's user reaches a test."""
    for name in list(os.environ):
        if _ENVIRONMENT.fullmatch(name):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def session_directory(request: pytest.FixtureRequest) -> Path:
    """The directory of this test run, one for all workers."""
    return request.config.stash[_RUN]


@pytest.fixture(scope="session")
def postgres_label(request: pytest.FixtureRequest) -> str:
    """The label of the server under test: 16, 18 or machine. Filled in by ``pytest_generate_tests``."""
    return str(request.param)


@pytest.fixture(scope="session")
def server(postgres_label: str, session_directory: Path) -> Embedded:
    """The session's server; every test of the run shares it, so leave roles and settings as they were."""
    return servers.session_server(session_directory, postgres_label)


@pytest.fixture
def databases(server: Embedded, request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """A function that makes a fresh empty database and returns its URL."""
    words = re.sub(r"[^a-z0-9]+", "_", request.node.name.lower()).strip("_")[:40]
    urls = request.node.stash.setdefault(_KEPT, [])
    with ExitStack() as stack:

        def make() -> str:
            url = stack.enter_context(servers.fresh_database(server, f"t_{words}"))
            urls.append(url)
            return url

        yield make
        if request.node.stash.get(_FAILED, False):
            stack.pop_all()  # dropped with the whole server, later


@pytest.fixture
def database(databases: Callable[[], str]) -> str:
    """The URL of a fresh empty database."""
    return databases()


@pytest.fixture
def own_server(session_directory: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Embedded]]:
    """A function that starts a private server: ``own_server(label="18", settings={}, idle_seconds=300, fresh=False)``.

    The test may crash it. It starts from a copy of a fresh data directory, without fsync; ``fresh=True`` runs
    initdb instead, for a system identifier of its own.
    """
    homes: list[Path] = []

    def start(
        label: str = "18",
        *,
        settings: dict[str, str] | None = None,
        idle_seconds: float = servers.IDLE_SECONDS,
        fresh: bool = False,
    ) -> Embedded:
        home = session_directory / f"own-{uuid.uuid4().hex[:8]}"
        homes.append(home)
        return servers.private_server(
            session_directory, home, label, settings=settings or {}, idle_seconds=idle_seconds, fresh=fresh
        )

    yield start
    for home in homes:
        servers.remove(home)
