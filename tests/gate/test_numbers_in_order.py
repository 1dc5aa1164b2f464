"""What is read in the order of a number stays in it beyond nine: 10 comes behind 9, not behind 1."""

import re
from pathlib import Path

import pytest

import lockgate
from lockgate.migrations.journal import read_steps
from lockgate.postgres import releases
from lockgate.postgres.environment import read_accepted
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from support.tables import run_sql

_RELEASES = (
    "INSERT INTO lockgate.release (release_key, sha, environment, state, operator, host, token, tool_version)"
    " SELECT 'k' || g, lpad(g::text, 7, '0'), 'default', 'succeeded', 'o', 'h', g, '0' FROM generate_series(1, 12) g"
)
_STEPS = (
    "INSERT INTO lockgate.release_step (release_key, number, name, state, limit_seconds)"
    " SELECT 'k12', g, 's' || g, 'done', 1 FROM generate_series(1, 12) g"
)
_JOURNAL = (
    "INSERT INTO lockgate.migration_step (revision_id, number, statement_hash, statement, kind, state, run_id, epoch)"
    " SELECT '1700000000001', g, 'h', 's', 'k', 'done', 'r', 1 FROM generate_series(1, 12) g"
)
_SECRETS = "INSERT INTO lockgate.accepted_secrets (revision, actor, reason) SELECT 'r' || g, 'a', 'b' FROM generate_series(1, 12) g"


@pytest.mark.usefixtures("applied")
def test_the_newest_of_twelve(database):
    """The newest of twelve releases is the twelfth; steps, journal and accepted secrets keep the order of their numbers."""
    run_sql(database, _RELEASES, _STEPS, _JOURNAL, _SECRETS)
    wire = Wire(Target(database, source="test"), "test")
    try:
        assert [r.sequence for r in releases.read_releases(wire)] == list(range(12, 0, -1))
        assert [s.number for s in releases.read_steps(wire, "k12")] == list(range(1, 13))
        assert [s.number for s in read_steps(wire, "1700000000001")] == list(range(1, 13))
    finally:
        wire.close()
    assert [a.revision for a in read_accepted(Target(database, source="test"))] == [f"r{n}" for n in range(1, 13)]  # fmt: skip


def test_no_statement_orders_by_the_text_of_a_number():
    """``SELECT n::text … ORDER BY n`` orders by the output column, the text: no SQL of ours does that, in code or in files."""
    found = []
    for path in Path(lockgate.__file__).parent.rglob("*"):
        if path.suffix not in (".py", ".sql"):
            continue
        text = path.read_text("utf-8")
        for order in re.finditer(r"ORDER BY ([a-z_]+)\b(?![.(])", text):
            before = text[: order.start()]
            statement = before[max(before.rfind("SELECT"), len(before) - 900, 0) :]
            if re.search(rf"(?<!\w){order[1]}::text\s*[,\n ](?!AS)", statement):
                found.append(f"{path.name}:{before.count(chr(10)) + 1} {order[0]}")
    assert found == ["sequences.sql:19 ORDER BY value"], "qualify the column: ORDER BY table.column"
