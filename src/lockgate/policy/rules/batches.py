"""Hazards of family G: loops over rows in DO blocks and procedures."""

import re
from collections.abc import Iterator

from lockgate.policy.hazard import INFO, WARNING, Hazard
from lockgate.policy.registry import rule
from lockgate.policy.subject import Hit, Subject
from lockgate.postgres.tree import words as w

_SETUP = "CREATE TABLE orders (id bigint PRIMARY KEY, qty integer, total integer);"
_NOT_CODE = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'", re.DOTALL)
_LOOP = re.compile(r"\bloop\b(?P<body>.*)\bend\s+loop\b", re.DOTALL)
_WRITES = re.compile(r"\b(insert\s+into|update\s+(?!skip\b|nowait\b|of\b)\w|delete\s+from|merge\s+into)")
_LIMIT = re.compile(r"\blimit\b")


def plain(body: str) -> str:
    """The words of a body: without comments and strings, in lower case."""
    return _NOT_CODE.sub("''", body).lower()


def _written_loop(subject: Subject) -> tuple[str, str]:
    """The loop of a DO block or procedure that writes rows, and the whole body; empty when there is none."""
    word = subject.statement
    assert isinstance(word, w.DoBlock | w.CreateFunction)
    if isinstance(word, w.CreateFunction) and not word.procedure:
        return "", ""
    body = plain(word.body)
    match = _LOOP.search(body)
    if match is None or not _WRITES.search(match["body"]):
        return "", body
    return match["body"], body


def _do(inner: str) -> str:
    return f"DO $$\nBEGIN\n  LOOP\n{inner}\n    EXIT WHEN NOT FOUND;\n  END LOOP;\nEND $$;"


def _procedure(inner: str) -> str:
    return f"CREATE PROCEDURE fill() LANGUAGE plpgsql AS $$\nBEGIN\n  LOOP\n{inner}\n    EXIT WHEN NOT FOUND;\n  END LOOP;\nEND $$;"


_BATCH = "    UPDATE orders SET total = qty WHERE id IN (SELECT id FROM orders WHERE total IS NULL ORDER BY id LIMIT 1000);"
_HIDDEN = "what a DO block locks is hidden in it, so no lock is claimed"
_GOOD = "UPDATE orders SET total = qty WHERE total IS NULL AND id BETWEEN 1 AND 1000;"


@rule(
    Hazard(
        id="dml-backfill-not-resumable",
        name="Batches that are none",
        detects="A DO block or procedure that writes rows in a loop without COMMIT.",
        effect="All rounds are one transaction: locks, bloat and lag are those of one big statement, and a failure starts from zero.",
        severity=WARNING,
        workaround="A move: each batch is committed with its place.",
        source="Field practice with backfills",
        setup=_SETUP,
        bad=_do(_BATCH),
        good=_GOOD,
        unproven=_HIDDEN,
    ),
    on=(w.DoBlock, w.CreateFunction),
)
def not_resumable(subject: Subject) -> Iterator[Hit]:
    """A loop inside the one transaction."""
    loop, body = _written_loop(subject)
    if loop and not re.search(r"\bcommit\b", body):
        yield Hit(
            "the loop writes its rows in one transaction",
            "lockgate move: each batch is committed with its place",
        )


@rule(
    Hazard(
        id="dml-backfill-unthrottled",
        name="Batches without a pause",
        detects="A DO block or procedure that writes rows in a loop and never sleeps.",
        effect="It writes as fast as the disk takes it: replicas fall behind and vacuum cannot keep up.",
        severity=WARNING,
        workaround="A move, which waits for replicas; else pg_sleep between two batches.",
        source="Field practice with backfills",
        setup=_SETUP,
        bad=_procedure(f"{_BATCH}\n    COMMIT;"),
        good=_procedure(f"{_BATCH}\n    COMMIT;\n    PERFORM pg_sleep(0.1);"),
    ),
    on=(w.DoBlock, w.CreateFunction),
)
def unthrottled(subject: Subject) -> Iterator[Hit]:
    """No pg_sleep anywhere in it."""
    loop, body = _written_loop(subject)
    if loop and "pg_sleep" not in body:
        yield Hit("the loop never lets replicas and vacuum catch up", "PERFORM pg_sleep(0.1);")


@rule(
    Hazard(
        id="dml-backfill-lock-order",
        name="Batches in no order",
        detects="A DO block or procedure that writes rows in a loop and picks them with LIMIT but without ORDER BY.",
        effect="Rows are locked in whatever order they are found; the application, which locks them in another, deadlocks with it.",
        severity=WARNING,
        workaround="ORDER BY the key, in the order that the application uses.",
        source="Field practice with backfills",
        setup=_SETUP,
        bad=_do(_BATCH.replace(" ORDER BY id", "")),
        good=_do(_BATCH),
        unproven=_HIDDEN,
    ),
    on=(w.DoBlock, w.CreateFunction),
)
def lock_order(subject: Subject) -> Iterator[Hit]:
    """LIMIT alone."""
    loop, body = _written_loop(subject)
    if loop and _LIMIT.search(body) and "order by" not in body:
        yield Hit("the rows of a batch are locked in no fixed order", "… ORDER BY <key> LIMIT …")


@rule(
    Hazard(
        id="dml-retry-xid",
        name="A savepoint a row",
        detects="A DO block or procedure with a loop and an EXCEPTION block inside it.",
        effect="Each round takes a transaction id of its own; beyond 64 of them every snapshot on the server becomes slower.",
        severity=INFO,
        workaround="Leave out what would fail by a condition (ON CONFLICT, WHERE NOT EXISTS) instead of catching it.",
        source="PostgreSQL documentation, PL/pgSQL, Trapping Errors",
        setup=_SETUP,
        bad=_do(
            "    BEGIN\n      UPDATE orders SET total = qty WHERE total IS NULL AND id < 10;\n    EXCEPTION WHEN unique_violation THEN\n      NULL;\n    END;"
        ),
        good=_do("    UPDATE orders SET total = qty WHERE total IS NULL AND id < 10;"),
        unproven=_HIDDEN,
    ),
    on=(w.DoBlock, w.CreateFunction),
)
def savepoints(subject: Subject) -> Iterator[Hit]:
    """EXCEPTION between LOOP and END LOOP."""
    loop, _ = _written_loop(subject)
    if loop and re.search(r"\bexception\s+when\b", loop):
        yield Hit("each round of the loop is a subtransaction", "… ON CONFLICT DO NOTHING")


@rule(
    Hazard(
        id="tx-retry-unsafe",
        name="Block that commits on its own",
        detects="COMMIT or ROLLBACK inside a DO block.",
        effect="lockgate runs each statement together with its row of history, so the block fails with `invalid transaction termination`; elsewhere a failure leaves half of it behind, and the retry does that half again.",
        workaround="A move: each batch is committed with its place.",
        by_target=True,
        source="PostgreSQL documentation, PL/pgSQL, Transaction Management",
        setup=_SETUP,
        bad=f"-- lockgate: transaction=off\n{_do(_BATCH + chr(10) + '    COMMIT;')}",
        good=_GOOD,
        unproven="it would end the transaction that measures it",
    ),
    on=w.DoBlock,
)
def commits(subject: Subject) -> Iterator[Hit]:
    """Transaction control in the body."""
    word = subject.statement
    assert isinstance(word, w.DoBlock)
    found = re.search(
        r"(?:^|;|\b(?:begin|loop|then|else))\s*(commit|rollback)\b(?!\s+to\b)", plain(word.body)
    )
    if found is not None:
        yield Hit(
            f"{found[1].upper()} in a DO block fails: the statement runs in a transaction",
            "lockgate move: each batch is committed with its place",
        )
