"""What a migration job's words mean, and what follows from them and from the history: the history has the last word."""

from enum import StrEnum

import msgspec

from lockgate.record.verdict import Verdict


class Said(StrEnum):
    """What a platform's word for the state of a job comes to."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    NOT_FOUND = "not-found"
    UNKNOWN = "unknown"
    NEW_WORD = "new word"
    QUERY_ERROR = "query-error"


_WORDS = {
    Said.SUCCEEDED: ("succeeded", "success", "completed", "complete"),
    Said.FAILED: (
        "failed", "failure", "cancelled", "canceled", "error", "errored", "stopped", "degraded", "timeout", "timedout", "terminated",
    ),
    Said.RUNNING: (
        "running", "processing", "pending", "active", "queued", "starting", "created", "inprogress", "in_progress", "in progress", "scheduled", "waiting",
    ),
    Said.NOT_FOUND: ("not-found", "notfound", "not found", "missing", "404"),
    Said.UNKNOWN: ("unknown", ""),
}  # fmt: skip
_BY_WORD = {word: said for said, words in _WORDS.items() for word in words}


def read_word(word: str) -> Said:
    """What ``word`` comes to. One that nobody has heard of is never success: it is waited out, then held."""
    return _BY_WORD.get(word.strip().strip('"').lower(), Said.NEW_WORD)


class Outcome(msgspec.Struct, frozen=True):
    """The verdict on a job: ``code`` is "" on pass; ``note`` tells what a reader should know all the same."""

    answer: Verdict
    code: str = ""
    message: str = ""
    note: str = ""


def judge_job(
    last: Said, word: str, *, timed_out: bool, history_complete: bool | None, trust_history: bool = False
) -> Outcome:
    """The verdict from the job's last word and the history (None: it could not be read).

    Only success *and* a complete history pass. A job that says otherwise than the history is STATUS_DISAGREES.
    """
    if history_complete is None:
        return Outcome(
            Verdict.HOLD,
            "MIGRATION_EXECUTION_QUERY_ERROR",
            f"the job says {word or last!r}, and the history could not be read",
        )
    if last is Said.SUCCEEDED:
        if history_complete:
            return Outcome(Verdict.PASS)
        return Outcome(
            Verdict.FAIL,
            "STATUS_DISAGREES",
            f"the job says {word!r}, and the history lacks revisions of the plan",
        )
    if history_complete:
        told = "ran out of time" if timed_out else f"says {word or last.value!r}"
        if trust_history:
            return Outcome(
                Verdict.PASS,
                note=f"the job {told}, and the history has the whole plan; job.trust_history lets it pass",
            )
        code = (
            "UNKNOWN_STATUS" if last in (Said.NEW_WORD, Said.UNKNOWN, Said.NOT_FOUND) else "STATUS_DISAGREES"
        )
        return Outcome(
            Verdict.HOLD, code, f"the job {told}, and the history has the whole plan: a person must look"
        )
    if last is Said.FAILED:
        return Outcome(
            Verdict.FAIL,
            "MIGRATION_EXECUTION_FAILED",
            f"the job says {word!r}, and the history lacks revisions of the plan",
        )
    if last is Said.NEW_WORD:
        return Outcome(
            Verdict.HOLD, "UNKNOWN_STATUS", f"the job says {word!r}, a word that nobody here knows"
        )
    if last is Said.QUERY_ERROR:
        return Outcome(
            Verdict.HOLD, "MIGRATION_EXECUTION_QUERY_ERROR", f"the job's state could not be read: {word}"
        )
    if last in (Said.UNKNOWN, Said.NOT_FOUND):
        return Outcome(
            Verdict.HOLD,
            "UNKNOWN_STATUS",
            f"the job was {last.value} to the end of its time, and the history lacks revisions",
        )
    return Outcome(
        Verdict.FAIL,
        "MIGRATION_EXECUTION_TIMEOUT",
        "the job did not end in its time, and the history lacks revisions of the plan",
    )
