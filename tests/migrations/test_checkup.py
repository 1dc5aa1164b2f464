"""The doctor's part that knows the history: a broken chain, half-done files, formats and digests."""

from collections.abc import Iterator

import pytest

from lockgate.migrations.checkup import examine, judge
from lockgate.migrations.history import History, Row
from lockgate.migrations.journal import StepRow
from lockgate.postgres import home
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire


@pytest.fixture
def wire(database: str) -> Iterator[Wire]:
    opened = Wire(Target(database, source="test"), "doctor")
    yield opened
    opened.close()


def test_nothing_to_say(wire):
    """Without a schema lockgate, and with an empty history, there is no finding."""
    assert examine(wire) == []
    home.bring_up(wire)
    assert examine(wire) == []


def test_half_done_file(wire):
    """A journal without a history row is an error that names the revision and the statement it stopped at."""
    home.bring_up(wire)
    wire.one(
        "INSERT INTO lockgate.migration_step (revision_id, number, statement_hash, statement, kind, state, run_id, epoch) VALUES "
        "('1738591547902', 1, 'h', 'CREATE INDEX CONCURRENTLY a ON t (a)', 'create_index', 'done', 'r', 1), "
        "('1738591547902', 2, 'h', 'CREATE INDEX CONCURRENTLY b ON t (b)', 'create_index', 'running', 'r', 1)"
    )
    found = examine(wire)
    assert [(f.id, f.severity) for f in found] == [("partial-file", "error")]
    assert "1738591547902" in found[0].message
    assert "statement 2" in found[0].evidence
    assert "b ON t" in found[0].evidence


def test_broken_chain(wire):
    """A head that the rows do not lead to is an error."""
    home.bring_up(wire)
    wire.one("UPDATE lockgate.fence SET head = 'x', ordinal = 1")
    assert [(f.id, f.severity) for f in examine(wire)] == [("history-broken", "error")]


def test_newer_format(wire):
    """A schema that a newer lockgate wrote is told, not read."""
    home.bring_up(wire)
    wire.one("INSERT INTO lockgate.format (number) VALUES (99)")
    found = examine(wire)
    assert [f.id for f in found] == ["format-newer"]
    assert "Upgrade" in found[0].next


def test_history_that_may_not_be_read(wire):
    """A role without rights on the schema lockgate is told so."""
    home.bring_up(wire)
    wire.one("SET ROLE pg_monitor")
    assert [f.id for f in examine(wire)] == ["history-unreadable"]


ROW = Row("1738591547902", "c")


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (History(), []),
        (History(rows=(ROW,), head="h", schema_head="h", schema_digest="d"), []),
        (History(rows=(ROW,), head="h"), ["schema-digest-missing"]),
        (History(rows=(ROW,), head="h", schema_head="g", schema_digest="d"), ["schema-digest-missing"]),
        (History(rows=(ROW,), head="h", broken="row 2 is missing"), ["history-broken"]),
        (History(partial=("1", "2")), ["partial-file", "partial-file"]),
    ],
)
def test_findings_follow_from_plain_values(history, expected):
    """What is found is a function of the history and the journals."""
    steps = {"1": [StepRow(1, "h", "VACUUM t", "vacuum", "running", 2, "")]}
    assert [f.id for f in judge(history, steps)] == expected
