"""The three answers of every check. Plain classes: services import this through the gate."""

from enum import StrEnum


class Verdict(StrEnum):
    """The answer of a check. Only ``PASS`` opens anything; ``HOLD`` means that nobody can tell."""

    PASS = "pass"  # noqa: S105 - an answer
    FAIL = "fail"
    HOLD = "hold"

    @classmethod
    def all_of(cls, answers: "list[Verdict]") -> "Verdict":
        """The verdict of a conjunction: one failure fails, one doubt holds, nothing at all holds."""
        if cls.FAIL in answers:
            return cls.FAIL
        if not answers or cls.HOLD in answers:
            return cls.HOLD
        return cls.PASS
