"""A project folder whose embedded server starts at once."""

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import servers


@pytest.fixture
def folder(session_directory: Path) -> Iterator[Path]:
    """An empty project folder, with the data of an embedded server that was never used."""
    made = session_directory / f"docs-{uuid.uuid4().hex[:8]}"
    made.mkdir()
    servers.seed(session_directory, made / ".lockgate", "18")
    yield made
    servers.stop_all(made / ".lockgate")
    shutil.rmtree(made, ignore_errors=True)
