"""What a check answers: one condition a line, and the one word over all of them. Plain classes, no import at all."""


class Answer:
    """The words of a report. ``READY`` and ``AHEAD_OK`` open; every other one keeps the gate closed."""

    READY = "READY"
    AHEAD_OK = "AHEAD_OK"
    BEHIND = "BEHIND"
    AHEAD_TOO_FAR = "AHEAD_TOO_FAR"
    MIGRATING = "MIGRATING"
    PARTIAL = "PARTIAL"
    CHECKSUM_MISMATCH = "CHECKSUM_MISMATCH"
    SECRETS_MISMATCH = "SECRETS_MISMATCH"
    INDEX_MISMATCH = "INDEX_MISMATCH"
    MOVE_NOT_READY = "MOVE_NOT_READY"
    PROBE_FAILED = "PROBE_FAILED"
    UNKNOWN = "UNKNOWN"


PRECEDENCE = (
    Answer.AHEAD_TOO_FAR,
    Answer.MIGRATING,
    Answer.PARTIAL,
    Answer.CHECKSUM_MISMATCH,
    Answer.BEHIND,
    Answer.SECRETS_MISMATCH,
    Answer.INDEX_MISMATCH,
    Answer.MOVE_NOT_READY,
    Answer.PROBE_FAILED,
)
"""Which definite no names the whole, when several conditions fail: first what waiting does not mend."""

PASS, FAIL, UNKNOWN = "pass", "fail", "unknown"


class Condition:
    """One condition: ``answer`` is ``pass``, ``fail`` or ``unknown``; ``code`` the word that it gives to the report.

    ``unreachable`` marks an unknown that comes from nobody answering, as opposed to any other doubt.
    """

    __slots__ = ("answer", "code", "evidence", "id", "next", "unreachable")

    def __init__(
        self, id: str, answer: str, code: str, evidence: str, next: str = "", *, unreachable: bool = False
    ) -> None:
        self.id = id
        self.answer = answer
        self.code = code
        self.evidence = evidence
        self.next = next
        self.unreachable = unreachable

    def document(self) -> "dict[str, str]":
        """The condition as JSON has it."""
        return {
            "id": self.id,
            "answer": self.answer,
            "code": self.code,
            "evidence": self.evidence,
            "next": self.next,
        }

    def __repr__(self) -> str:
        return f"Condition({self.id!r}, {self.answer}, {self.code}, {self.evidence!r})"


class Report:
    """All conditions of one check. Only when every one passes is the gate open; no condition at all is unknown."""

    __slots__ = ("conditions", "observed", "warnings")

    def __init__(
        self,
        conditions: "tuple[Condition, ...]",
        *,
        warnings: "tuple[str, ...]" = (),
        observed: "dict[str, object] | None" = None,
    ) -> None:
        self.conditions = conditions
        self.warnings = warnings
        self.observed = observed or {}

    @property
    def ready(self) -> bool:
        """True when every condition passes."""
        return bool(self.conditions) and all(c.answer == PASS for c in self.conditions)

    @property
    def definite(self) -> bool:
        """True for a clear yes and for a clear no; False where something cannot be told and nothing is a clear no."""
        return self.ready or any(c.answer == FAIL for c in self.conditions)

    @property
    def answer(self) -> str:
        """The one word: a definite no first, then UNKNOWN, then AHEAD_OK or READY."""
        failed = [c.code for c in self.conditions if c.answer == FAIL]
        if failed:
            return min(
                failed, key=lambda code: PRECEDENCE.index(code) if code in PRECEDENCE else len(PRECEDENCE)
            )
        if not self.ready:
            return Answer.UNKNOWN
        return Answer.AHEAD_OK if any(c.code == Answer.AHEAD_OK for c in self.conditions) else Answer.READY

    @property
    def exit_code(self) -> int:
        """0 ready, 1 a definite no, 69 when nothing but unreachability is in the way, 5 any other doubt."""
        if self.ready:
            return 0
        if self.definite:
            return 1
        doubts = [c for c in self.conditions if c.answer == UNKNOWN]
        return 69 if doubts and all(c.unreachable for c in doubts) else 5

    def document(self) -> "dict[str, object]":
        """The report as ``gate --format json`` prints it, without the version of its shape."""
        return {
            "ready": self.ready,
            "answer": self.answer,
            "conditions": [c.document() for c in self.conditions],
            "warnings": list(self.warnings),
        }
