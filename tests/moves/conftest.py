"""What tests of data moves lean on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.calls import Project
from support.tables import Two


@pytest.fixture
def two(tmp_path: Path, databases: Callable[[], str]) -> Two:
    """Two fresh databases of one server."""
    return Two(Project(tmp_path), databases(), databases())
