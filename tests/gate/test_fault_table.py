"""The table of faults in docs/gate.md names tests that are there."""

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "gate.md"


def test_every_fault_names_tests_that_exist():
    """Each row of the table names at least one test, every named test exists, and no number is left out."""
    rows = re.findall(r"^\| (\d*) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", PAGE.read_text(), re.MULTILINE)
    for number, fault, _, tests in rows:
        named = re.findall(r"`(\w+)::(test_\w+)`", tests)
        assert named, fault
        for module, test in named:
            source = (HERE / f"test_{module}.py").read_text()
            assert f"def {test}(" in source, f"{number}: {module}::{test}"
    assert {int(number) for number, *_ in rows if number} == set(range(79, 90))
