"""A project folder for each test, and its keepers."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lockgate.postgres.embedded import Embedded
from support import processes, servers

FAST = {"fsync": "off"}


@pytest.fixture
def project(session_directory: Path) -> Iterator[Path]:
    """An empty project folder with a short path, which every account can enter."""
    folder = session_directory / f"p-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    yield folder
    for depth in (".lockgate", "*/.lockgate", "*/*/.lockgate"):
        for home in folder.glob(depth):
            servers.stop_all(home)
    servers.remove(folder)


@pytest.fixture
def home(project: Path) -> Path:
    """The place of the project's server; it does not exist yet."""
    return project / ".lockgate"


@pytest.fixture
def start(session_directory: Path) -> Callable[..., Embedded]:
    """``Embedded.ensure`` without fsync; a new home of version 18 gets a copied data directory, to save time."""

    def ensure(home: Path, **options: object) -> Embedded:
        if not home.exists() and not {"version", "binaries"} & options.keys():
            servers.seed(session_directory, home, "18")
        return Embedded.ensure(home, **{"settings": FAST, **options})  # type: ignore[arg-type]

    return ensure


@pytest.fixture
def keepers(home: Path) -> Callable[[], list[int]]:
    """A function that lists the living keepers of the project's server."""
    return lambda: processes.with_word(f'"home": "{home}"')
