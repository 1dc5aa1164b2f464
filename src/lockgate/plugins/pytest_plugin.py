"""The fixture ``lockgate_db``: a migrated database of its own for every test, copied from a template in milliseconds.

The template is made once for each content of the migration files and kept; any number of workers may ask for it at once. The
server is that of ``LOCKGATE_TEST_URL`` (a login that may create databases), else an embedded one of
its own (``.lockgate/tests``), which a crash may cost: nothing on it is written to the disk in time.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

HOME = ".lockgate/tests"
_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--lockgate-config`` names the configuration whose migrations are applied."""
    parser.addoption(
        "--lockgate-config",
        default=None,
        metavar="PATH",
        help="lockgate.toml of the migrations (default: that of the root folder).",
    )


@pytest.fixture(scope="session")
def lockgate_template(pytestconfig: pytest.Config) -> tuple[str, str]:
    """(URL of the server, name of the template) for the migrations as they are now."""
    from lockgate.config import load
    from lockgate.postgres.databases import make_template
    from lockgate.postgres.embedded import Embedded
    from lockgate.postgres.target import Target
    from lockgate.release.project import read_files, refuse_problems
    from lockgate.release.template import migrate

    given = pytestconfig.getoption("--lockgate-config")
    root_file = pytestconfig.rootpath / "lockgate.toml"
    settings = load(Path(given) if given else root_file if root_file.is_file() else None)
    files = read_files(settings)
    refuse_problems(files.problems)
    url = os.environ.get("LOCKGATE_TEST_URL", "")
    if not url:
        home, embedded = settings.path(HOME), settings.embedded
        home.parent.mkdir(exist_ok=True)
        url = Embedded.ensure(
            home, version=embedded.version, idle_seconds=embedded.idle_seconds, settings=_SETTINGS
        ).url()
    digest = hashlib.sha256(
        "".join(f"{m.revision} {m.checksum}\n" for m in files.migrations).encode()
    ).hexdigest()
    name = f"lockgate_template_{digest[:16]}"
    make_template(
        Target(url, source="LOCKGATE_TEST_URL"), name, lambda target: migrate(target, files, settings)
    )
    return url, name


@pytest.fixture
def lockgate_db(lockgate_template: tuple[str, str], request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a fresh database with all migrations applied. Dropped after the test."""
    from lockgate.postgres.databases import copy_database, drop_database
    from lockgate.postgres.target import Target

    url, template = lockgate_template
    words = re.sub(r"[^a-z0-9]+", "_", request.node.name.lower()).strip("_")[:30]
    server = Target(url, source="LOCKGATE_TEST_URL")
    name = f"lg_{words}_{os.getpid()}_{os.urandom(3).hex()}"
    made = copy_database(server, template, name)
    yield made
    drop_database(server, name)
