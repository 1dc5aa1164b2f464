"""What tests of data moves lean on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from moves.hand import declare, make
from support.calls import Project
from support.standby import primary_and_standby
from support.tables import Two


@pytest.fixture
def project(tmp_path: Path, database: str) -> Project:
    """A project with the table item and a declared move."""
    made = Project(tmp_path, database)
    make(database, 300)
    declare(made)
    return made


@pytest.fixture
def two(tmp_path: Path, databases: Callable[[], str]) -> Two:
    """Two fresh databases of one server."""
    return Two(Project(tmp_path), databases(), databases())


@pytest.fixture
def pair(server, session_directory, postgres_label):
    """(primary, standby) with the table ``item`` in a database of its own."""
    with primary_and_standby(
        server, session_directory, postgres_label, fill=lambda url: make(url, 1000)
    ) as both:
        yield both
