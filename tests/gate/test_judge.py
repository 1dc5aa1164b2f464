"""The verdict of a gate, without a database."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.contracts import R, contract, state
from lockgate.gate.judge import Own, Sight, judge
from lockgate.gate.report import PRECEDENCE, Condition, Report


def answer(low, high, own=Own(), *, starting=True, given=None, **seen):  # noqa: B008
    report = judge(given or contract(low, high), Sight("seen", state(**seen)), own=own, starting=starting)
    return report.answer, report.exit_code


@pytest.mark.parametrize(
    ("low", "high", "revision", "floor", "expected"),
    [
        (1, 3, 3, 0, ("READY", 0)),
        (3, 5, 3, 0, ("READY", 0)),
        (4, 5, 3, 0, ("BEHIND", 1)),
        (1, 2, 3, 0, ("AHEAD_OK", 0)),
        (1, 2, 3, 2, ("AHEAD_OK", 0)),
        (1, 2, 3, 3, ("AHEAD_TOO_FAR", 1)),
        (2, 4, 3, 3, ("READY", 0)),
        (1, 1, 0, 0, ("BEHIND", 1)),
    ],
)
def test_the_window(low, high, revision, floor, expected):
    """Within the window ready, below behind, above ahead: fine as long as the floor has not passed the window's end."""
    assert (
        answer(low, high, revision=R[revision] if revision else "", compat_floor=R[floor] if floor else "")
        == expected
    )


@given(low=st.integers(0, 9), size=st.integers(0, 9), revision=st.integers(0, 9), floor=st.integers(0, 9))
def test_ready_means_inside_or_above_a_low_floor(low, size, revision, floor):
    """For every window, revision and floor: ready exactly when min ≤ revision and the floor has not passed max."""
    high, floor = min(9, low + size), min(floor, revision)
    ready = answer(low, high, revision=R[revision], compat_floor=R[floor])[1] == 0
    assert ready == (low <= revision and floor <= high)


def test_a_live_run_holds_a_start_and_not_a_process_that_serves():
    """While a run is under way a start answers MIGRATING; a process that serves stays ready inside its window."""
    running = {"run_id": "r", "kind": "up", "started_at": "now", "live": True}
    assert answer(1, 3, running=running) == ("MIGRATING", 1)
    assert answer(1, 3, running=running, starting=False) == ("READY", 0)
    assert answer(5, 6, running=running) == ("MIGRATING", 1), "waiting mends it"
    assert answer(1, 1, running=running, compat_floor=R[3]) == ("AHEAD_TOO_FAR", 1), "waiting does not"
    assert answer(1, 3, running=running | {"live": False}) == ("READY", 0), (
        "a dead run left a consistent schema"
    )
    without = {k: v for k, v in running.items() if k != "live"}
    assert answer(1, 3, running=without) == ("MIGRATING", 1), "format 1 does not tell: counts as live"


def test_a_half_done_file_keeps_a_start_out_and_names_the_command():
    """A file that stopped half way: PARTIAL with the next command for a start; what serves goes on."""
    assert answer(1, 3, partial=[R[4]]) == ("PARTIAL", 1)
    report = judge(contract(1, 3), Sight("seen", state(partial=[R[4]])))
    assert any("lockgate up" in c.next for c in report.conditions if c.answer == "fail")
    assert answer(1, 3, partial=[R[4]], starting=False) == ("READY", 0)


def test_an_announced_floor_keeps_new_instances_out():
    """A floor that is announced and not yet applied refuses a start that it would pass, and only warns one that serves."""
    assert answer(1, 2, announced_floor=R[3]) == ("AHEAD_TOO_FAR", 1)
    report = judge(contract(1, 2), Sight("seen", state(announced_floor=R[3])), starting=False)
    assert report.ready
    assert report.warnings


def test_the_digest():
    """The digest is compared from max on, and below it where the contract has one for that revision; a difference is CHECKSUM_MISMATCH, a database that gives none is a doubt."""
    good, bad = "a" * 64, "b" * 64
    asked = contract(1, 3, digest=good)
    assert answer(1, 3, given=asked, digest=good) == ("READY", 0)
    assert answer(1, 3, given=asked, digest=bad) == ("CHECKSUM_MISMATCH", 1)
    assert answer(1, 3, given=asked) == ("UNKNOWN", 5)
    assert answer(1, 3, given=asked, revision=R[2]) == ("READY", 0)
    below = contract(1, 3, digest=good, digests={R[2]: bad})
    assert answer(1, 3, given=below, revision=R[2], digest=bad) == ("READY", 0)
    assert answer(1, 3, given=below, revision=R[2], digest=good) == ("CHECKSUM_MISMATCH", 1)
    assert answer(1, 3, given=below, revision=R[2]) == ("UNKNOWN", 5)
    assert answer(1, 3, given=below, revision=R[1], digest=good) == ("READY", 0), "nothing is said of it"
    assert answer(1, 3, given=below, digest=good) == ("READY", 0)


def test_secrets_during_a_rotation():
    """Nothing accepted is no condition; one or two accepted revisions are; none shown, or another, is a mismatch."""
    assert answer(1, 3) == ("READY", 0)
    for accepted in (["s1"], ["s1", "s2"]):
        assert answer(1, 3, Own("s1"), secrets=accepted) == ("READY", 0)
        assert answer(1, 3, Own(), secrets=accepted) == ("SECRETS_MISMATCH", 1)
        assert answer(1, 3, Own("s0"), secrets=accepted) == ("SECRETS_MISMATCH", 1)
    assert answer(1, 3, Own("s2"), secrets=["s1", "s2"]) == ("READY", 0)


def test_indexes():
    """Declared and not installed, another spec, not sealed, not valid, another one loaded: each is INDEX_MISMATCH."""
    asked = contract(1, 3, indexes={"docs": {"spec_hash": "spec"}})
    live = {"generation": "g1", "spec_hash": "spec", "index_hash": "sealed", "valid": True}
    assert answer(1, 3, given=asked, indexes={"docs": live}) == ("READY", 0)
    assert answer(1, 3, Own(index_hashes={"docs": "sealed"}), given=asked, indexes={"docs": live}) == (
        "READY",
        0,
    )
    for wrong in ({"spec_hash": "other"}, {"index_hash": ""}, {"valid": False}):
        assert answer(1, 3, given=asked, indexes={"docs": live | wrong}) == ("INDEX_MISMATCH", 1), wrong
    assert answer(1, 3, given=asked) == ("INDEX_MISMATCH", 1)
    assert answer(1, 3, Own(index_hashes={"docs": "old"}), given=asked, indexes={"docs": live}) == (
        "INDEX_MISMATCH",
        1,
    )


def test_moves():
    """A required stage is reached by itself and by every later one; an unknown move or an earlier stage is not ready."""
    asked = contract(1, 3, moves={"orders": "shadowing"})
    assert answer(1, 3, given=asked, moves={"orders": {"stage": "shadowing"}}) == ("READY", 0)
    assert answer(1, 3, given=asked, moves={"orders": {"stage": "finished"}}) == ("READY", 0)
    assert answer(1, 3, given=asked, moves={"orders": {"stage": "backfilling"}}) == ("MOVE_NOT_READY", 1)
    for stage in ("aborted", "paused", "rolled_back", "a later word"):
        assert answer(1, 3, given=asked, moves={"orders": {"stage": stage}}) == ("MOVE_NOT_READY", 1)
    early = contract(1, 3, moves={"orders": "dual_write"})
    assert answer(1, 3, given=early, moves={"orders": {"stage": "paused"}}) == ("READY", 0), "capture goes on"
    odd = contract(1, 3, moves={"orders": "a later word"})
    assert answer(1, 3, given=odd, moves={"orders": {"stage": "aborted"}}) == ("MOVE_NOT_READY", 1)
    assert answer(1, 3, given=asked) == ("MOVE_NOT_READY", 1)


def test_no_answer():
    """Unreachable alone is 69, another doubt 5, a definite no beside either is 1; a database without lockgate is BEHIND."""
    asked = contract(1, 3, indexes={"docs": {"spec_hash": "s"}})
    assert judge(asked, Sight("unreachable", why="refused")).exit_code == 69
    assert judge(asked, Sight("doubt", why="permission denied")).exit_code == 5
    down = Condition("probe:x", "fail", "PROBE_FAILED", "down")
    assert judge(asked, Sight("unreachable", why="refused"), (down,)).exit_code == 1
    absent = judge(asked, Sight("absent", why="no schema"))
    assert (absent.answer, absent.exit_code) == ("BEHIND", 1)
    assert {c.id for c in absent.conditions} == {"schema:revision", "index:docs"}
    assert Report(()).exit_code == 5, "no condition at all is a doubt"


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda c: st.lists(c) | st.dictionaries(st.text(), c),
    )
)
def test_a_state_that_is_not_understood_is_a_doubt(garbage):
    """Whatever a newer database says in place of a value: a report comes back, never an exception."""
    for key in state():
        report = judge(
            contract(1, 3, digest="a" * 64, indexes={"i": {"spec_hash": "s"}}, moves={"m": "finished"}),
            Sight("seen", state(revision=R[3]) | {key: garbage}),
        )
        assert report.exit_code in (0, 1, 5)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["pass", "fail", "unknown"]), st.sampled_from([*PRECEDENCE, "READY", "UNKNOWN"])
        )
    )
)
def test_one_condition_that_does_not_pass_closes(conditions):
    """Whatever the conditions: ready exactly when there is one and all pass, and the exit code is 0 exactly then."""
    report = Report(tuple(Condition(f"c{i}", a, c, "") for i, (a, c) in enumerate(conditions)))
    assert report.ready == (bool(conditions) and all(a == "pass" for a, _ in conditions))
    assert (report.exit_code == 0) == report.ready
