"""What the tests of snapshots share."""

import sys
from pathlib import Path

import pytest

from lockgate.migrations.files import read_directory

sys.path.insert(0, str(Path(__file__).parent))

MIXED = Path(__file__).with_name("mixed.sql").read_text("utf-8")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def mixed() -> str:
    """A schema with one of nearly everything that the model knows."""
    return MIXED


@pytest.fixture
def shop() -> list[str]:
    """The migrations of the example shop, in order."""
    reading = read_directory(ROOT / "examples/shop/db/migrations", max_file_bytes=1 << 20)
    return [migration.up for migration in reading.migrations]
