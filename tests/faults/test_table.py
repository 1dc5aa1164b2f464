"""``docs/reliability.md`` and the tests say the same, both ways."""

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "reliability.md"
ROWS = {*range(1, 8), *range(9, 21), *range(21, 30), *range(31, 42), 78}
"""The numbers of the faults that the page has to have."""


def _tests() -> dict[str, ast.FunctionDef]:
    found = {}
    for path in sorted(HERE.glob("test_*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found[f"{path.stem.removeprefix('test_')}::{node.name}"] = node
    return found


def _rows() -> list[list[str]]:
    lines = PAGE.read_text("utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return [row for row in cells if len(row) == 4 and row[0] not in ("row", "---")]


def test_every_row_names_its_tests() -> None:
    """Each fault of the page names at least one test, and each named test exists."""
    tests = _tests()
    for number, fault, expected, named in _rows():
        names = re.findall(r"`([a-z_]+::test_\w+)`", named)
        assert fault, number
        assert expected, number
        assert names, f"row {number} names no test"
        assert set(names) <= tests.keys(), (
            f"row {number} names tests that are not there: {set(names) - tests.keys()}"
        )


def test_every_test_stands_in_the_table() -> None:
    """Each test of this folder stands in a row of the page."""
    named = set(re.findall(r"`([a-z_]+::test_\w+)`", "".join(row[3] for row in _rows())))
    missing = _tests().keys() - named
    assert not missing, f"docs/reliability.md does not name {sorted(missing)}"


def test_every_fault_has_a_row() -> None:
    """No number of the failure matrix that this folder answers for is left out."""
    numbers = {int(number) for row in _rows() for number in re.findall(r"\d+", row[0])}
    assert numbers >= ROWS, f"missing: {sorted(ROWS - numbers)}"


def test_every_test_says_what_it_shows() -> None:
    """Each test here has a docstring of one sentence."""
    for name, node in _tests().items():
        said = ast.get_docstring(node) or ""
        assert said.endswith("."), f"{name} does not say what it shows"
        assert "\n\n" not in said, f"{name} says more than a sentence"
