"""Every row of the catalogue is a rule, or stands in the docs with the reason why it is none."""

import re
from pathlib import Path

from lockgate.policy import judge  # noqa: F401 - registers what the engine itself reports
from lockgate.policy.pages import every_hazard
from lockgate.policy.rules import HAZARDS

ROWS = (Path(__file__).parent / "catalogue.txt").read_text().split()
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "policy.md").read_text()


def excused() -> dict[str, str]:
    """Row → reason, from the table of the page."""
    table = PAGE.partition("<!-- not-implemented: begin -->")[2].partition("<!-- not-implemented: end -->")[0]
    return dict(re.findall(r"^\| `([a-z0-9-]+)` \| (.+) \|$", table, re.MULTILINE))


def test_every_row_is_a_rule_or_excused():
    """The rows are those of the rules and of the table, and none is in both."""
    assert len(ROWS) == len(set(ROWS)) == 201
    implemented = set(ROWS) & set(HAZARDS)
    assert not implemented & set(excused())
    assert implemented | set(excused()) == set(ROWS)
    assert len(implemented) >= 160


def test_what_is_no_row_is_of_the_engine():
    """Hazards beyond the catalogue are those that judging itself brings about, and what was met in the field since."""
    met = {
        "function-body-left-behind",
        "col-drop-check-lost",
        "col-type-dependents",
        "object-rename",
        "object-drop",
        "object-setting",
    }
    beyond = {"not-understood", "phase-contract-in-expand", "suppression-unknown", "suppression-useless"}
    assert set(HAZARDS) - set(ROWS) == beyond | met


def test_reasons_say_something():
    """A reason is a sentence, not a mark."""
    assert all(len(reason) > 15 for reason in excused().values())


def test_pages_and_rules_do_not_clash():
    """What has a page beside the rules has an id of its own."""
    assert len(every_hazard()) == len(HAZARDS) + 7
