"""Hazards of family H, and those that the engine itself reports."""

import re
from collections.abc import Iterator

from lockgate.policy.hazard import WARNING, Hazard
from lockgate.policy.registry import hazard, rule
from lockgate.policy.subject import Hit, Subject
from lockgate.postgres.tree import words as w

_SETUP = "CREATE TABLE orders (id bigint PRIMARY KEY, qty integer);"


@rule(
    Hazard(
        id="tx-nesting",
        name="Transaction control in a file",
        detects="BEGIN, COMMIT, ROLLBACK, SAVEPOINT and their kin.",
        effect="The file ends lockgate's own transaction: what came before is committed without its history row.",
        workaround="Leave transactions to lockgate; `-- lockgate: transaction=off` where none is wanted.",
        suppressible=False,
        source="observed",
        setup=_SETUP,
        bad="BEGIN;\nALTER TABLE orders ADD COLUMN a text;\nCOMMIT;",
        good="ALTER TABLE orders ADD COLUMN a text;",
        unproven="it would end the transaction that measures it",
    ),
    on=w.TransactionControl,
)
def nesting(subject: Subject) -> Iterator[Hit]:
    """Any transaction statement."""
    yield Hit(f"{subject.facts.kind} is not for migration files")


_TIMEOUTS = (
    "lock_timeout",
    "statement_timeout",
    "idle_in_transaction_session_timeout",
    "transaction_timeout",
)


@rule(
    Hazard(
        id="tx-timeout-bad-value",
        name="Timeout switched off",
        detects="SET of a timeout to 0 or DEFAULT, or RESET of it; a lock_timeout above a minute, or one set after the first lock.",
        effect="A statement may wait for a lock for ever, with every later query behind it.",
        workaround="`-- lockgate: lock_timeout=…` or `statement_timeout=…` in the head of the file.",
        by_target=True,
        source="Field practice with locks and sessions",
        setup=_SETUP,
        bad="SET lock_timeout = 0;\nALTER TABLE orders ADD COLUMN a text;",
        good="SET LOCAL lock_timeout = '2s';\nALTER TABLE orders ADD COLUMN a text;",
    ),
    on=w.SetVariable,
)
def timeout_off(subject: Subject) -> Iterator[Hit]:
    """A timeout that ends up as none."""
    word = subject.statement
    assert isinstance(word, w.SetVariable)
    name = word.name.lower()
    if name in _TIMEOUTS and (not word.values or word.values[0].rstrip(" smhind") in ("0", "")):
        yield Hit(f"{name} is switched off", f"-- lockgate: {name}=2s")
    elif name == "lock_timeout" and _milliseconds(word.values[0]) > _LONGEST_WAIT:
        yield Hit(
            f"everybody who comes later waits behind a lock for up to {word.values[0]}",
            f"-- lockgate: {name}=2s",
            severity=WARNING,
        )
    elif name == "lock_timeout":
        for judged in subject.earlier():
            held = [key for key, mode in judged.facts.locks.items() if mode >= w.LockMode.ShareLock]
            if any(not subject.is_new(key) for key in held):
                yield Hit(
                    f"{held[0]} was locked in line {judged.line}, before this timeout",
                    f"-- lockgate: {name}={word.values[0]}",
                    severity=WARNING,
                )
                return


_LONGEST_WAIT = 60_000
_UNITS = {"us": 0.001, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000, "": 1}


def _milliseconds(value: str) -> float:
    """What SET makes of a value; 0 for what it would refuse."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([a-z]*)\s*", value)
    return float(match[1]) * _UNITS.get(match[2], 0) if match is not None else 0


@rule(
    Hazard(
        id="not-understood",
        name="Statement not understood",
        detects="A statement that lockgate has no word for, or a text that PostgreSQL cannot parse.",
        effect="Nobody can say what it locks, so nothing may be assumed.",
        workaround="Write it in another way, or allow it by name with a reason and an end date.",
        lowered=True,
        source="lockgate",
        bad="EXECUTE prepared;",
        good="SELECT 1;",
        unproven="nothing is claimed of it",
    ),
    on=w.NotUnderstood,
)
def not_understood(subject: Subject) -> Iterator[Hit]:
    """Never skipped in silence."""
    word = subject.statement
    assert isinstance(word, w.NotUnderstood)
    fix = next((fix for start, fix in _INSTEAD.items() if word.why.startswith(start)), "")
    yield Hit(f"lockgate does not understand this statement: {word.why}", fix)


_INSTEAD = {
    "EXECUTE": "Write the prepared query itself, with its values.",
    "CREATE TABLE AS EXECUTE": "CREATE TABLE AS with the prepared query itself.",
    "IMPORT FOREIGN SCHEMA": "CREATE FOREIGN TABLE for each table that is needed, with its columns.",
}
"""What to write in place of the statements that people do write and that nobody can read from a file."""


hazard(
    Hazard(
        id="phase-contract-in-expand",
        name="Contract operation in an expand file",
        detects="A drop, rename, hard NOT NULL or type change in a file that declares phase=expand.",
        effect="The release that is still running, or the one to roll back to, fails.",
        workaround="Split it: what adds stays in this file; what takes away goes to a file with `-- lockgate: phase=contract`.",
        destructive=True,
        source="lockgate, expand and contract",
        setup=_SETUP,
        bad="-- lockgate: phase=expand\nALTER TABLE orders DROP COLUMN qty;",
        good="-- lockgate: phase=expand\nALTER TABLE orders ADD COLUMN total numeric;",
    )
)
hazard(
    Hazard(
        id="rep-suppression-expired",
        name="Suppression that no longer counts",
        detects="`allow=` without a reason, without an end date, or past it.",
        effect="The finding it covered is back.",
        workaround="Mend the cause, or renew `until=` with a reason.",
        suppressible=False,
        source="lockgate",
        setup=_SETUP,
        bad='-- lockgate: allow=idx-create-blocking until=2001-01-01 reason="old"\nCREATE INDEX orders_qty ON orders (qty);',
        good='-- lockgate: allow=idx-create-blocking until=2999-01-01 reason="tiny"\nCREATE INDEX orders_qty ON orders (qty);',
    )
)
hazard(
    Hazard(
        id="suppression-unknown",
        name="Suppression of an unknown hazard",
        detects="`allow=` with an id that no hazard has.",
        effect="It covers nothing.",
        workaround="lockgate explain lists the ids.",
        suppressible=False,
        source="lockgate",
        setup=_SETUP,
        bad='-- lockgate: allow=idx-creat until=2999-01-01 reason="typo"\nCREATE INDEX orders_qty ON orders (qty);',
        good='-- lockgate: allow=idx-create-blocking until=2999-01-01 reason="tiny"\nCREATE INDEX orders_qty ON orders (qty);',
    )
)
hazard(
    Hazard(
        id="suppression-useless",
        name="Suppression that hides nothing",
        detects="`allow=` above a statement that does not have the hazard, or above none.",
        effect="It will hide the next one that comes along.",
        severity=WARNING,
        workaround="Take it out.",
        suppressible=False,
        source="lockgate",
        setup=_SETUP,
        bad='-- lockgate: allow=idx-create-blocking until=2999-01-01 reason="none"\nALTER TABLE orders ADD COLUMN a text;',
        good="ALTER TABLE orders ADD COLUMN a text;",
    )
)
