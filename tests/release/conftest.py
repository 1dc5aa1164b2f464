"""A protected project, and the pieces of a release that tests put together."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from release.measuring import Measured, Prometheus, prometheus
from support.calls import Project

SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def make(tmp_path: Path, database: str) -> Callable[..., Project]:
    """Make a project with two migrations and this ``lockgate.toml``; PRODUCTION_URL is a fresh database."""

    def project(toml: str = "", *, files: bool = True) -> Project:
        made = Project(tmp_path)
        made.environ = {"PRODUCTION_URL": database}
        made.configure(toml)
        if files:
            made.write("customers", "CREATE TABLE customers (id bigint PRIMARY KEY, email text NOT NULL);\n")
            made.write("orders", "CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint);\n")
        return made

    return project


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """This worker's Prometheus."""
    with prometheus(tmp_path_factory.mktemp("measured") / "prometheus") as found:
        yield found


@pytest.fixture
def measured(watched: Prometheus) -> Measured:
    """A gauge that a real Prometheus scrapes."""
    return watched.measured()


ENV = '[env.production]\nurl_env = "PRODUCTION_URL"\n'
PROTECTED = """
[env.production]
url_env = "PRODUCTION_URL"
protected = true
require_rehearsal = false
"""
