"""Every reason code is given by the code and asserted by a test, or stands here with the reason why not."""

import re
from pathlib import Path

import pytest

from lockgate.record.reasons import REASONS

ROOT = Path(__file__).resolve().parents[2]
SOURCE = "\n".join(p.read_text("utf-8") for p in (ROOT / "src").rglob("*.py") if p.name != "reasons.py")
TESTS = "\n".join(
    p.read_text("utf-8") for p in (ROOT / "tests").rglob("*.py") if p.name != Path(__file__).name
)
NOT_ASSERTED: dict[str, str] = {
    "MOVE_QUERY_FAILED": "the server refused a query of ours for a cause that has no code of its own; none is known",
}
"""Code → why no test asserts it."""


def named(code: str, text: str) -> bool:
    """Whether ``text`` holds the code as a whole word: not as the part of a longer one."""
    return re.search(rf"(?<![A-Z_]){re.escape(code)}(?![A-Z_])", text) is not None


@pytest.mark.parametrize("code", REASONS)
def test_every_code_is_reached(code: str):
    """The code stands in the sources and in a test; one that no test can reach is listed with its reason, and only then."""
    built = code.startswith("API_SMOKE_")  # test_smoke puts these together
    assert named(code, SOURCE), f"{code} is given nowhere"
    asserted = built or named(code, TESTS)
    assert asserted != (code in NOT_ASSERTED), (
        f"{code} is asserted by no test" if not asserted else f"{code} need not be listed any more"
    )
