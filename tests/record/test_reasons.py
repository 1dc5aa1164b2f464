"""The table of reason codes and the verdicts hold together."""

from hypothesis import given
from hypothesis import strategies as st

from lockgate.errors import CheckFailed, ConfigError, Held, Interrupted, LockgateError, Refused, RunFailed
from lockgate.record.reasons import REASONS, Exit
from lockgate.record.verdict import Verdict


def test_every_reason_is_told():
    """Each code says what it means, how the world is, what to do next, and with which exit code."""
    for code, row in REASONS.items():
        assert code == row.code
        assert code == code.upper()
        assert all(text.endswith((".", ")", "up", "status", "baseline")) or text for text in row[1:4])
        assert row.exit in Exit
        assert int(row.exit) not in range(64, 69)


def test_defaults_of_errors_are_reasons():
    """An error without a code of its own takes one of the table; what it carries wins over the table."""
    for kind in (LockgateError, ConfigError, CheckFailed, Refused, RunFailed, Interrupted, Held):
        error = kind("what happened")
        assert error.code in REASONS
        assert (error.state, error.next) == (REASONS[error.code].state, REASONS[error.code].next)
        assert kind("x", "USAGE", state="s", next="n", exit=Exit.HOLD, details={"a": 1}).details == {"a": 1}


@given(st.lists(st.sampled_from(list(Verdict))))
def test_only_pass_opens(answers: list[Verdict]):
    """A conjunction passes only when there is something and all of it passes."""
    verdict = Verdict.all_of(answers)
    assert (verdict is Verdict.PASS) == (bool(answers) and set(answers) == {Verdict.PASS})
    assert (verdict is Verdict.FAIL) == (Verdict.FAIL in answers)
