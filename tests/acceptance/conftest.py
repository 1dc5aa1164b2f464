"""A project on a fresh database, and one without any configuration."""

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import servers
from support.calls import Project


@pytest.fixture(autouse=True)
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command starts as a user's does."""
    monkeypatch.setattr(Project, "cold", True)


@pytest.fixture
def project(tmp_path: Path, database: str) -> Project:
    """An empty project whose DATABASE_URL is that of a fresh database."""
    return Project(tmp_path, database)


@pytest.fixture
def shop(project: Project) -> Project:
    """A project of three files: two tables in transactions, and an index that is built concurrently."""
    project.write(
        "customers",
        "CREATE TABLE customers (id bigint PRIMARY KEY, email text NOT NULL);\n\n-- lockgate: down\nDROP TABLE customers;\n",
    )
    project.write(
        "orders",
        "-- lockgate: phase=expand\nCREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint);\n\n-- lockgate: down\nDROP TABLE orders;\n",
    )
    project.write(
        "orders_customer",
        "-- lockgate: transaction=off\nCREATE INDEX CONCURRENTLY orders_customer ON orders (customer_id);\n\n-- lockgate: down\nDROP INDEX CONCURRENTLY IF EXISTS orders_customer;\n",
    )
    return project


@pytest.fixture
def bare(session_directory: Path) -> Iterator[Project]:
    """A project folder without a URL, which the embedded server's account can enter. The server's data is seeded."""
    folder = session_directory / f"bare-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    servers.seed(session_directory, folder / ".lockgate", "18")
    yield Project(folder)
    servers.stop_all(folder / ".lockgate")
    shutil.rmtree(folder, ignore_errors=True)
