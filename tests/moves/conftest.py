"""What tests of data moves lean on."""

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.cluster import Cluster
from moves.hand import make
from support.calls import Project
from support.processes import until
from support.tables import Two


@pytest.fixture
def two(tmp_path: Path, databases: Callable[[], str]) -> Two:
    """Two fresh databases of one server."""
    return Two(Project(tmp_path), databases(), databases())


@pytest.fixture
def pair(server, session_directory, postgres_label):
    """(primary, standby) with the table ``item`` in a database of its own."""
    folder = session_directory / f"moves-{uuid.uuid4().hex[:8]}"
    primary = Cluster.like(server, folder, session_directory, postgres_label)
    standby = None
    try:
        primary.start()
        standby = primary.standby(session_directory / f"{folder.name}s")
        make(primary.url(), 1000)
        until(
            lambda: primary.execute(
                "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming' AND replay_lsn IS NOT NULL"
            )
        )
        yield primary, standby
    finally:
        for one in (standby, primary):
            if one is not None:
                one.remove()
