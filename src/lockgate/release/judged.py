"""The policy's answer on the files of a run, as a value that can travel between processes. Costs nothing to import."""

import msgspec

from lockgate.policy.finding import Finding

_EARLY_STAGE = "early-stage"
"""As in policy/subject.py, which costs what the whole policy costs; a test compares the two."""
UNKNOWN_TARGET = "; no environment is configured, and a snapshot or a time-out could prove it harmless"


class Judged(msgspec.Struct, frozen=True):
    """The policy's answer on some revisions of one target. ``findings`` carry the severity that counts there."""

    profile: str
    revisions: frozenset[str]
    findings: tuple[Finding, ...]
    # Revisions that stopped half way: they run on under the permit that they began with.
    begun: frozenset[str] = frozenset()

    @property
    def blocking(self) -> tuple[Finding, ...]:
        """What must not pass."""
        return tuple(found for found in self.findings if found.severity == "error")

    @property
    def notes(self) -> tuple[str, ...]:
        """What the report of a run has to say: a profile that allows more, and what blocks elsewhere."""
        told = []
        if self.profile == _EARLY_STAGE:
            lowered = [found.id for found in self.findings if found.evidence.endswith("allows it")]
            ids = f" ({', '.join(dict.fromkeys(lowered))})" if lowered else ""
            told.append(
                f"policy: the profile is {_EARLY_STAGE}: what takes data or names away is allowed{ids}"
            )
        mild = [found for found in self.findings if found.evidence.endswith(UNKNOWN_TARGET)]
        if mild:
            ids = ", ".join(sorted({found.id for found in mild})[:5])
            told.append(
                f"policy: {len(mild)} finding{'s' if len(mild) > 1 else ''} would block a configured environment ({ids}); lockgate check tells where"
            )
        return tuple(told)

    @property
    def warnings(self) -> int:
        """How many findings do not block and are worth a look."""
        return sum(found.severity == "warning" for found in self.findings)
