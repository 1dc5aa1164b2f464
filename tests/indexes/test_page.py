"""docs/indexes.md says what the code does: the table of limits, the causes, the checks."""

import re
from pathlib import Path

from lockgate.indexes import causes, inspect
from lockgate.indexes.limits import LIKE_FOR_LIKE, MODEL_CHANGE, TABLE

PAGE = Path(__file__).resolve().parents[2] / "docs" / "indexes.md"
SOURCE = Path(causes.__file__).parent


def limits_table() -> str:
    """The table of limits, as the page has to hold it."""
    rows = ["| limit | like-for-like | model-change | meaning | from |", "| --- | --- | --- | --- | --- |"]
    for name, row in TABLE.items():
        one, other = getattr(LIKE_FOR_LIKE, name), getattr(MODEL_CHANGE, name)
        rows.append(f"| `{name.replace('_', '-')}` | {one:g} | {other:g} | {row.meaning} | {row.source} |")
    return "\n".join(rows).replace(" < ", " &lt; ")


def test_the_limits_are_those_of_the_code():
    """Every limit stands in the page with both profiles' values, its meaning and its source."""
    assert limits_table() in PAGE.read_text()


def test_every_check_and_cause_is_named():
    """Each check of a drift and each cause that the code can name is on the page."""
    text = PAGE.read_text()
    code = (SOURCE / "judging.py").read_text()
    checks = set(re.findall(r'(?:within|worsening|Check)\(\s*"([a-z0-9-]+)"', code))
    assert len(checks) > 15
    named = set(re.findall(r'Cause\(\s*"([a-z-]+)"', (SOURCE / "causes.py").read_text())) | set(
        inspect.CAUSES.values()
    )
    assert len(named) > 10
    for word in checks | named:
        assert f"`{word}`" in text, word
