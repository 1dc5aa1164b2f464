"""The table of faults in docs/release.md names tests that are there."""

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "release.md"
ROWS = {8, 10, 12, 13, 21, 60, *range(69, 81)}
"""The faults of the matrix that a release has to bear."""


def test_every_fault_names_tests_that_exist():
    """Each row of the table names at least one test, every named test exists, and no number is left out."""
    table = PAGE.read_text().split("## Faults\n")[1]
    rows = re.findall(r"^\| (\d*) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", table, re.MULTILINE)
    for number, fault, _, tests in rows:
        named = re.findall(r"`(?:(\w+)/)?(\w+)::(test_\w+)`", tests)
        assert named, fault
        for room, module, test in named:
            source = (HERE.parent / (room or "release") / f"test_{module}.py").read_text()
            assert f"def {test}(" in source, f"{number}: {room}/{module}::{test}"
    assert {int(number) for number, *_ in rows if number} == ROWS
