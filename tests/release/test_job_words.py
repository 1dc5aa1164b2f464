"""What words of a platform and a history amount to: every combination."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.record.verdict import Verdict
from lockgate.release.job_verdict import Said, judge_job, read_word

WORDS = {
    Said.SUCCEEDED: ["Succeeded", "success", "COMPLETED", '"Complete"'],
    Said.FAILED: ["Failed", "Stopped", "Degraded", "canceled", "error"],
    Said.RUNNING: ["Running", "Processing", "pending", "Active"],
    Said.UNKNOWN: ["Unknown", ""],
    Said.NOT_FOUND: ["not-found", "404"],
    Said.NEW_WORD: ["Suspended-ish", "succeeded!", "success?", "not failed"],
}


@pytest.mark.parametrize(("said", "word"), [(said, word) for said, words in WORDS.items() for word in words])
def test_words(said: Said, word: str):
    """Each known word comes to what it means; one that only looks like success is a new word."""
    assert read_word(word) is said


@settings(deadline=None)
@given(st.sampled_from(list(Said)), st.sampled_from([True, False, None]), st.booleans(), st.booleans())
def test_only_one_way_to_pass(last: Said, complete: bool | None, timed_out: bool, trust: bool):
    """Without trust in the history alone, only a success with a complete history passes; what is not known never does."""
    outcome = judge_job(last, last.value, timed_out=timed_out, history_complete=complete, trust_history=trust)
    if outcome.answer is Verdict.PASS:
        assert complete is True
        assert last is Said.SUCCEEDED or (trust and outcome.note)
    else:
        assert outcome.code
        assert outcome.message
    if complete is None:
        assert outcome.answer is Verdict.HOLD
    if last is Said.SUCCEEDED and complete is False:
        assert (outcome.answer, outcome.code) == (Verdict.FAIL, "STATUS_DISAGREES")
