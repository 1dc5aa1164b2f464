"""Family F: what looks like a change of a live table and harms nobody."""

from collections.abc import Iterator

from lockgate.policy.hazard import INFO, Hazard
from lockgate.policy.registry import rule
from lockgate.policy.subject import Hit, Subject
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.words import LockMode


@rule(
    Hazard(
        id="harmless-sux",
        name="Statement that stops nobody",
        detects="COMMENT ON, CREATE STATISTICS, CLUSTER ON and VALIDATE CONSTRAINT, when the file holds no stronger lock on the table.",
        effect="None: reads and writes go on; only another change of the table waits.",
        lock="ShareUpdateExclusiveLock",
        severity=INFO,
        workaround="None needed.",
        source="PostgreSQL documentation, Explicit Locking; observed",
        setup="CREATE TABLE orders (id bigint PRIMARY KEY, code text);",
        bad="COMMENT ON TABLE orders IS 'one row an order';\nCREATE STATISTICS id_and_code ON id, code FROM orders;",
        good="CREATE TABLE codes (code text PRIMARY KEY);\nCOMMENT ON TABLE codes IS 'nobody uses it yet';",
    ),
    on=(w.Comment, w.CreateStatistics, w.ClusterOn, w.ValidateConstraint),
)
def harmless(subject: Subject) -> Iterator[Hit]:
    """Said, so that the verdict is a verdict and not silence."""
    weak = LockMode.ShareUpdateExclusiveLock
    key = subject.key
    if key not in subject.facts.locks or subject.is_new(key) or max(subject.facts.locks.values()) > weak:
        return
    held = subject.file.transactional and any(
        judged.facts.locks.get(key, 0) > weak for judged in subject.earlier()
    )
    if not held:
        yield Hit(f"safe: reads and writes of {key} go on")
