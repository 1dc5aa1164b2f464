"""What the policy says: findings, and the facts of each statement as reports show them."""

from msgspec import Struct


class Finding(Struct, frozen=True):
    """One hazard met at one place. The fields are those of ``check --format json``."""

    id: str
    file: str
    line: int
    severity: str
    phase: str
    message: str
    fix: str = ""
    # What the claim rests on: "read" from the text and the model, or "measured" on a server; then the facts.
    evidence: str = ""
    # The number of the statement in its file that a rule met it at; -1 for what was found in the file as a whole.
    statement: int = -1


class StatementFacts(Struct, frozen=True, omit_defaults=False):
    """One statement of ``check --format json``."""

    file: str
    line: int
    kind: str
    understood: bool
    transactional: bool
    locks: dict[str, str]
    rewrites: list[str]
    scans: list[str]
    opaque: bool = False
    visible: list[str] = []
    reversible: bool | None = True
