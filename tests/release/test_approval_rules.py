"""Whether a plan is approved, as a function of plain values."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.config.release import Approver, Freeze
from lockgate.config.windows import parse_window
from lockgate.migrations.plan import Plan, plan_hash
from lockgate.record.verdict import Verdict
from lockgate.release.approval import Approval, Demand, judge_approvals
from lockgate.release.impact import Impact
from lockgate.release.windows import judge_time

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
FILES = tuple((f"17000000000{n:02d}", f"{n:064x}") for n in range(1, 6))


def plan(applied: int) -> Plan:
    return Plan(FILES[:applied], FILES[applied:], (), plan_hash(FILES[:applied], FILES[applied:]))


PLAN = plan(2)


def given_by(who: str, role: str = "dev", **changes) -> Approval:
    fields = {
        "approval_id": f"a-{who}-{role}", "environment": "production", "plan_hash": PLAN.hash, "approver": who, "role": role,
        "approved_at": NOW - timedelta(hours=1), "expires_at": NOW + timedelta(hours=1), **changes,
    }  # fmt: skip
    return Approval(**fields)


def demand(**changes) -> Demand:
    return Demand(**{"environment": "production", "operator": "olga", **changes})


CASES = [
    ("one is enough where one is asked for", [given_by("ann")], demand(), ""),
    ("none", [], demand(), "APPROVAL_MISSING"),
    ("of another environment", [given_by("ann", environment="staging")], demand(), "APPROVAL_MISSING"),
    ("one's own", [given_by("olga")], demand(), "APPROVAL_MISSING"),
    ("one's own in other letters", [given_by(" OLGA ")], demand(), "APPROVAL_MISSING"),
    ("expired", [given_by("ann", expires_at=NOW)], demand(), "APPROVAL_EXPIRED"),
    ("older than the environment lets one be", [given_by("ann")], demand(max_age=1800.0), "APPROVAL_EXPIRED"),
    ("of another plan", [given_by("ann", plan_hash="0" * 64)], demand(), "APPROVAL_STALE"),
    ("taken back", [given_by("ann", revoked=True)], demand(), "APPROVAL_MISSING"),
    ("two people asked for, one came", [given_by("ann")], demand(count=2), "APPROVAL_MISSING"),
    ("one person in two roles is one person", [given_by("ann"), given_by("ann", "dba")], demand(count=2), "APPROVAL_MISSING"),
    ("two people", [given_by("ann"), given_by("bob")], demand(count=2), ""),
    ("the operator is not one of the two", [given_by("ann"), given_by("olga")], demand(count=2), "APPROVAL_MISSING"),
    ("a role is missing", [given_by("ann"), given_by("bob")], demand(roles=("dba",)), "APPROVAL_MISSING"),
    ("one each for two roles", [given_by("ann", "dba"), given_by("bob", "sre")], demand(roles=("dba", "sre")), ""),
    ("one person cannot fill two roles", [given_by("ann", "dba"), given_by("ann", "sre")], demand(roles=("dba", "sre")), "APPROVAL_MISSING"),
    (
        "the order does not matter when people hold two roles",
        [given_by("ann", "dba"), given_by("ann", "sre"), given_by("bob", "dba")],
        demand(roles=("dba", "sre")),
        "",
    ),
    ("unsigned where signed ones are asked for", [given_by("ann")], demand(signed=True), "APPROVAL_MISSING"),
    ("signed", [given_by("ann", signed=True)], demand(signed=True), ""),
    ("from the future", [given_by("ann", approved_at=NOW + timedelta(days=1), expires_at=NOW + timedelta(days=2))], demand(), "APPROVAL_MISSING"),
    ("a stranger where approvers are listed", [given_by("eve")], demand(approvers=(("ann", Approver(("dev",))),)), "APPROVAL_MISSING"),
    ("a role that is not held", [given_by("ann", "dba")], demand(approvers=(("ann", Approver(("dev",))),)), "APPROVAL_MISSING"),
    ("a listed person in a role of theirs", [given_by("ann")], demand(approvers=(("ann", Approver(("dev",))),)), ""),
    ("glass to be broken without a second person", [given_by("ann")], demand(count=3, break_glass="fire"), "APPROVAL_MISSING"),
    ("glass broken by two", [given_by("ann", break_glass=True, reason="fire")], demand(count=3, break_glass="fire"), ""),
    ("glass broken alone", [given_by("olga", break_glass=True, reason="fire")], demand(break_glass="fire"), "APPROVAL_MISSING"),
    ("glass broken without the second reason", [given_by("ann", break_glass=True)], demand(break_glass="fire"), "APPROVAL_MISSING"),
]  # fmt: skip


@pytest.mark.parametrize(("approvals", "asked", "code"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_decision(approvals, asked, code):
    """Each fact about approvals leads to its decision, with its reason code."""
    decision = judge_approvals(approvals, asked, PLAN, NOW)
    assert (decision.code, decision.answer) == (code, Verdict.FAIL if code else Verdict.PASS)


def test_what_is_left_of_an_approved_plan():
    """After a part of the approved plan was applied its approval holds for the rest; not for a plan that shares only the end."""
    approval = given_by("ann", plan_hash=plan(0).hash)
    assert judge_approvals([approval], demand(), plan(3), NOW).code == ""
    assert judge_approvals([approval], demand(), plan(3), NOW, exact=True).code == "APPROVAL_STALE"
    other = (("1600000000000", "f" * 64), *FILES[1:3])
    assert (
        judge_approvals(
            [approval], demand(), Plan(other, FILES[3:], (), plan_hash(other, FILES[3:])), NOW
        ).code
        == "APPROVAL_STALE"
    )
    more = (*FILES[3:], ("1800000000000", "e" * 64))
    assert (
        judge_approvals([approval], demand(), Plan(FILES[:3], more, (), plan_hash(FILES[:3], more)), NOW).code
        == "APPROVAL_STALE"
    )


_people = st.sampled_from(["ann", "bob", "cid", "olga", "Olga"])
_approvals = st.lists(
    st.builds(
        given_by,
        _people,
        st.sampled_from(["dev", "dba", "sre"]),
        plan_hash=st.sampled_from([PLAN.hash, "0" * 64]),
        expires_at=st.sampled_from([NOW - timedelta(hours=2), NOW + timedelta(hours=2)]),
        revoked=st.booleans(),
    ),
    max_size=8,
)


@settings(deadline=None)
@given(_approvals, st.integers(0, 3), st.sampled_from([(), ("dba",), ("dba", "sre")]))
def test_who_is_counted(approvals, count, roles):
    """Whatever approvals there are: a pass rests on as many different people as asked, none of them the operator, all valid, all roles filled."""
    decision = judge_approvals(approvals, demand(count=count, roles=roles), PLAN, NOW)
    if decision.answer is not Verdict.PASS:
        assert decision.code
        return
    people = [a.approver.casefold() for a in decision.used]
    assert len(set(people)) == len(people) == max(count, len(roles))
    assert "olga" not in people
    assert set(roles) <= {a.role for a in decision.used}
    assert all(not a.revoked and a.plan_hash == PLAN.hash and a.expires_at > NOW for a in decision.used)


WINDOWS = [
    ("Mon-Fri 09:00-17:00", "2026-11-20T12:00Z", True),
    ("Mon-Fri 09:00-17:00", "2026-11-21T12:00Z", False),
    ("Mon-Fri 09:00-17:00", "2026-11-20T17:00Z", False),
    ("Sat,Sun 00:00-06:00", "2026-11-21T05:59Z", True),
    ("Fri 22:00-02:00", "2026-11-21T01:00Z", True),
    ("Fri 22:00-02:00", "2026-11-20T01:00Z", False),
    ("Fri-Mon 01:00-02:00", "2026-11-22T01:30Z", True),
    ("daily 02:30-03:30 Europe/Berlin", "2026-10-25T01:45Z", True),  # after the clocks went back: 02:45 local
    ("daily 09:00-10:00 Europe/Berlin", "2026-07-01T07:30Z", True),
    ("daily 09:00-10:00 Europe/Berlin", "2026-12-01T07:30Z", False),
]


@pytest.mark.parametrize(("window", "now", "inside"), WINDOWS)
def test_windows(window, now, inside):
    """A window is hours of its own zone, over midnight too, and keeps them when the clocks change."""
    assert parse_window(window).holds(datetime.fromisoformat(now)) is inside


def test_window_and_freeze():
    """Only a plan of the named impact waits for a window; a freeze stops everything; both ends of a freeze need a zone."""
    now = datetime.fromisoformat("2026-11-21T12:00Z")
    windows = ["Mon 02:00-04:00"]
    assert judge_time(windows, (), "high", Impact.MEDIUM, now).code == ""
    assert judge_time(windows, (), "high", Impact.HIGH, now).code == "OUTSIDE_WINDOW"
    freeze = Freeze("2026-11-01T00:00Z", "2026-12-01T00:00+01:00", "the sale")
    refused = judge_time([], (freeze,), "high", Impact.NONE, now)
    assert (refused.code, "the sale" in refused.message) == ("FROZEN", True)
    from lockgate.errors import ConfigError

    for wrong in ("Mon 2-4", "Mop 02:00-04:00", "Mon 02:00-04:00 Nowhere/Land"):
        with pytest.raises(ConfigError):
            parse_window(wrong)
    with pytest.raises(ConfigError, match="no zone"):
        judge_time([], (Freeze("2026-11-01T00:00", "2026-12-01T00:00Z"),), "high", Impact.LOW, now)


@pytest.mark.parametrize(
    ("approvals", "asked", "wanted"),
    [
        ([], demand(), "--role approver"),
        ([given_by("ann", "dba")], demand(roles=("dba", "sre")), "--role sre"),
        ([], demand(approvers=(("olga", Approver(("lead",))), ("ann", Approver(("dba",))))), "--role dba"),
        ([], demand(roles=("dba",), break_glass="fire"), "--role dba --break-glass --reason TEXT"),
    ],
)
def test_a_refusal_says_with_what_to_approve(approvals, asked, wanted):
    """The missing approval is named by its options: a demanded role that nobody gave, else one that another person holds."""
    assert judge_approvals(approvals, asked, PLAN, NOW).wanted == wanted
