"""A project on a fresh database, and questions to that database."""

from pathlib import Path

import pytest

from support.calls import Project


@pytest.fixture
def project(tmp_path: Path, database: str) -> Project:
    """An empty project whose DATABASE_URL is that of a fresh database."""
    return Project(tmp_path, database)
