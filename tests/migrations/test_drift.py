"""Drift: what a run left is remembered under its fence, and every later look says equal, different by name, or unknown."""

from collections.abc import Iterator

import psycopg
import pytest

from lockgate.migrations import drift
from lockgate.migrations.drift import Recorded, Snapshot, compare, judge, remember
from lockgate.migrations.session import statement
from lockgate.postgres import home
from lockgate.postgres.fingerprint import Change, read_fingerprint, to_fingerprint
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from lockgate.record.verdict import Verdict

LIVE = to_fingerprint([("table", "a", "1"), ("table", "b", "1")], "1/16")
OTHER = to_fingerprint([("table", "a", "2"), ("table", "c", "1")], "1/16")


@pytest.fixture
def wire(database: str) -> Iterator[Wire]:
    opened = Wire(Target(database, source="test"), "test")
    yield opened
    opened.close()


@pytest.fixture
def history(wire: Wire) -> Wire:
    """A database whose history has the head h1, written by the run of epoch 3, and one table."""
    home.bring_up(wire)
    wire.one("UPDATE lockgate.fence SET head = 'h1', epoch = 3")
    wire.one("CREATE TABLE public.orders (id int)")
    return wire


def test_equal_after_remember(history):
    """What was remembered compares as equal, with the digest that remember gave back."""
    digest = remember(history, 3, "1738591547902")
    seen = compare(history)
    assert (seen.verdict, seen.digest, seen.expected, seen.changes, seen.reason_code) == (
        Verdict.PASS,
        digest,
        digest,
        (),
        "",
    )
    assert digest == read_fingerprint(history).digest


def test_change_is_named(history):
    """A change behind the history's back fails with SCHEMA_DRIFT and the name of each object."""
    remember(history, 3, "1738591547902")
    history.one("ALTER TABLE public.orders ADD note text")
    history.one("CREATE VIEW public.news AS SELECT 1 AS one")
    seen = compare(history)
    assert (seen.verdict, seen.reason_code) == (Verdict.FAIL, "SCHEMA_DRIFT")
    assert seen.changes == (Change("added", "column public.orders.note"), Change("added", "view public.news"))
    history.one("DROP VIEW public.news")
    history.one("ALTER TABLE public.orders DROP note")
    assert compare(history).verdict is Verdict.PASS


def test_unknown_is_never_pass(wire):
    """Without a schema lockgate, without history, and with a head that has no digest, the answer is HOLD."""
    assert compare(wire).verdict is Verdict.HOLD
    home.bring_up(wire)
    assert compare(wire).verdict is Verdict.HOLD
    wire.one("UPDATE lockgate.fence SET head = 'h1', epoch = 3")
    assert compare(wire).verdict is Verdict.HOLD
    remember(wire, 3, "1738591547902")
    assert compare(wire).verdict is Verdict.PASS
    wire.one(
        "UPDATE lockgate.fence SET head = 'h2'"
    )  # a file was applied and the run died before it remembered
    seen = compare(wire)
    assert (seen.verdict, seen.expected, seen.reason_code) == (Verdict.HOLD, "", "")
    assert "did not come to its end" in seen.note


def test_role_without_rights_gets_hold(history, database):
    """A role that may not read the schema lockgate is told so, as HOLD, and its session stays usable."""
    remember(history, 3, "1738591547902")
    history.one("SET ROLE pg_monitor")
    seen = compare(history)
    assert seen.verdict is Verdict.HOLD
    assert "permission denied" in seen.note
    assert history.value("SELECT 'usable'") == "usable"


def test_fenced_run_writes_nothing(history):
    """A run whose epoch is over leaves no snapshot and no digest."""
    assert remember(history, 2, "1738591547902") == ""
    assert history.value("SELECT count(*) FROM lockgate.schema_snapshot") == "0"
    assert history.value("SELECT schema_digest FROM lockgate.fence") is None
    remember(history, 3, "1738591547902")
    history.one("CREATE TABLE public.later ()")
    assert remember(history, 2, "1738591547903") == ""
    assert compare(history).verdict is Verdict.FAIL


def test_newest_five_stay(history):
    """Each head has its snapshot, remembering again replaces it, and the newest five heads stay."""
    for number in range(1, 9):
        history.one("UPDATE lockgate.fence SET head = $1", f"h{number}")
        remember(history, 3, f"173859154790{number}")
    remember(history, 3, "1738591547908")
    rows = history.one("SELECT head FROM lockgate.schema_snapshot ORDER BY taken_at").rows
    assert rows == [("h4",), ("h5",), ("h6",), ("h7",), ("h8",)]
    assert compare(history).verdict is Verdict.PASS


def test_snapshot_lost_still_fails(history):
    """Where the snapshot is gone the digest alone still shows the drift, without names."""
    remember(history, 3, "1738591547902")
    history.one("DELETE FROM lockgate.schema_snapshot")
    assert compare(history).verdict is Verdict.PASS
    history.one("CREATE TABLE public.later ()")
    seen = compare(history)
    assert (seen.verdict, seen.changes) == (Verdict.FAIL, ())
    assert "cannot be named" in seen.note


def test_two_round_trips(history):
    """To remember takes two round trips, to compare takes two."""
    ticket = history.ticket
    remember(history, 3, "1738591547902")
    assert history.ticket == ticket + 2
    compare(history)
    assert history.ticket == ticket + 4


def test_run_that_writes_meanwhile_gives_hold(history, database, monkeypatch):
    """When a run ends between the two reads, the answer is HOLD, not drift."""
    remember(history, 3, "1738591547902")

    def read_late(wire: Wire):
        with psycopg.connect(database, autocommit=True) as other:
            other.execute("CREATE TABLE public.later ()")
            other.execute("UPDATE lockgate.fence SET head = 'h2'")
        return read_fingerprint(wire)

    monkeypatch.setattr(drift, "read_fingerprint", read_late)
    seen = compare(history)
    assert seen.verdict is Verdict.HOLD
    assert "compare again" in seen.note


def recorded(**changes: object) -> Recorded:
    return Recorded(
        **{
            "head": "h",
            "schema_head": "h",
            "digest": LIVE.digest,
            "snapshot": Snapshot("1/16", LIVE.objects),
            **changes,
        }
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "live", "verdict", "changes"),
    [
        (recorded(), LIVE, Verdict.PASS, 0),
        (recorded(), OTHER, Verdict.FAIL, 3),
        (recorded(running="r1"), LIVE, Verdict.PASS, 0),
        (recorded(running="r1"), OTHER, Verdict.HOLD, 0),
        (recorded(snapshot=None), OTHER, Verdict.FAIL, 0),
        (recorded(snapshot=Snapshot("1/15", LIVE.objects)), OTHER, Verdict.HOLD, 3),
        (recorded(snapshot=Snapshot("1/15", LIVE.objects)), LIVE, Verdict.PASS, 0),
        (recorded(head="h2"), LIVE, Verdict.HOLD, 0),
        (recorded(digest=""), LIVE, Verdict.HOLD, 0),
        (Recorded(), LIVE, Verdict.HOLD, 0),
    ],
)
def test_verdict_is_a_function_of_two_values(seen, live, verdict, changes):
    """Only an equal digest for the current head passes; a running run or another server version holds a difference."""
    answer = judge(seen, live)
    assert (answer.verdict, len(answer.changes)) == (verdict, changes)
    assert (answer.reason_code == "SCHEMA_DRIFT") is (verdict is Verdict.FAIL)
    assert answer.note


@pytest.mark.parametrize("name", ["remember", "recorded"])
def test_queries_are_plain_sql(history, name):
    """Each query of this room's files is prepared as it stands."""
    history.prepare(f"test_{name}", statement(name))
