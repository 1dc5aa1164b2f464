"""The engine: the model, phases, suppressions, size, several files."""

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.errors import ConfigError
from lockgate.policy.finding import Finding
from lockgate.policy.judge import Judge, Judgement, Source
from lockgate.policy.model.schema import Schema
from lockgate.policy.model.snapshot import Snapshot, read, write
from lockgate.policy.rules import HAZARDS

_TODAY = date(2030, 1, 1)
_TABLE = "CREATE TABLE orders (id bigint PRIMARY KEY, qty integer, code varchar(10));"


def judged(text: str, *, phase: str = "", transactional: bool = True, base: str = _TABLE) -> Judgement:
    judge = Judge(today=_TODAY)
    judge.replay(base)
    return judge.judge(Source("f.sql", text, phase, transactional))


def ids(judgement: Judgement) -> list[str]:
    return [finding.id for finding in judgement.findings]


def test_a_table_of_the_same_file_is_exempt() -> None:
    """Nobody uses a table before the file that creates it is committed."""
    text = "CREATE TABLE a (x int);\nCREATE INDEX a_x ON a (x);\nALTER TABLE a ALTER COLUMN x TYPE bigint;\nDROP TABLE a;"
    assert ids(judged(text)) == []


def test_a_valid_check_proves_not_null() -> None:
    """SET NOT NULL after a validated CHECK reads nothing and is no hazard; before validation it is."""
    add = _TABLE + "ALTER TABLE orders ADD CONSTRAINT p CHECK (qty IS NOT NULL) NOT VALID;"
    text = "ALTER TABLE orders ALTER COLUMN qty SET NOT NULL;"
    assert ids(judged(text, base=add)) == ["col-set-not-null"]
    proved = judged(text, base=add + "ALTER TABLE orders VALIDATE CONSTRAINT p;")
    assert ids(proved) == []
    assert proved.statements[0].scans == []


def test_a_contract_operation_in_an_expand_file_is_refused() -> None:
    """The phase is inferred from what the statements take away, and checked against the directive."""
    judgement = judged("ALTER TABLE orders DROP COLUMN code;", phase="expand")
    assert judgement.phase == "contract"
    assert "phase-contract-in-expand" in ids(judgement)
    declared = judged("ALTER TABLE orders DROP COLUMN code;", phase="contract")
    assert [finding.severity for finding in declared.findings] == ["info"]


def test_a_suppression_covers_one_statement() -> None:
    """An allowance hides its hazard on the next statement and on no other."""
    allow = '-- lockgate: allow=idx-create-blocking until=2030-06-01 reason="empty"\n'
    text = allow + "CREATE INDEX a ON orders (qty);\nCREATE INDEX b ON orders (code);"
    judgement = judged(text)
    assert [(finding.id, finding.line) for finding in judgement.findings] == [("idx-create-blocking", 3)]


@pytest.mark.parametrize(
    ("allow", "expected"),
    [
        ('allow=idx-create-blocking until=2029-12-31 reason="x"', "rep-suppression-expired"),
        ("allow=idx-create-blocking until=2030-12-31", "rep-suppression-expired"),
        ('allow=idx-create-blocking reason="x"', "rep-suppression-expired"),
        ('allow=nothing-here until=2030-12-31 reason="x"', "suppression-unknown"),
        ('allow=col-drop until=2030-12-31 reason="x"', "suppression-useless"),
    ],
)
def test_a_suppression_that_does_not_count_is_reported(allow: str, expected: str) -> None:
    """Expired, incomplete, unknown and useless allowances hide nothing and are findings themselves."""
    found = ids(judged(f"-- lockgate: {allow}\nCREATE INDEX a ON orders (qty);"))
    assert sorted(found) == sorted(["idx-create-blocking", expected])


def test_an_unparsable_file_blocks() -> None:
    """A text that PostgreSQL cannot parse is an error with its line."""
    (finding,) = judged("SELECT 1;\nSELEC 2;").findings
    assert (finding.id, finding.line, finding.severity) == ("not-understood", 2, "error")


def test_a_small_table_is_not_worth_shouting_about() -> None:
    """A snapshot that shows few rows lowers hazards of size to info."""
    judge = Judge(today=_TODAY)
    judge.replay(_TABLE)
    judge.schema.relations["orders"].rows = 12
    judgement = judge.judge(Source("f.sql", "CREATE INDEX a ON orders (qty);"))
    assert [finding.severity for finding in judgement.findings] == ["info"]


def test_a_constraint_that_nobody_validates_is_reported_at_the_end() -> None:
    """Rules over several files see every file and the last state of the model."""
    judge = Judge(today=_TODAY)
    judge.replay(_TABLE)
    judge.judge(Source("a.sql", "ALTER TABLE orders ADD CONSTRAINT c CHECK (qty > 0) NOT VALID;"))
    judge.judge(Source("b.sql", "SELECT 1;"))
    assert [(finding.id, finding.file) for finding in judge.finish()] == [("con-notvalid-forgotten", "a.sql")]


def test_settings_of_a_file_do_not_leak_into_the_next() -> None:
    """Each file starts with the search path of a fresh session."""
    judge = Judge(today=_TODAY)
    judge.replay("CREATE SCHEMA app; SET search_path = app; CREATE TABLE t (a int);")
    shown = judge.judge(
        Source("f.sql", "ALTER TABLE t ADD COLUMN b int;\nALTER TABLE app.t ADD COLUMN b int;")
    )
    assert [statement.locks for statement in shown.statements] == [
        {"t": "AccessExclusiveLock"},
        {"app.t": "AccessExclusiveLock"},
    ]


def test_the_model_survives_json() -> None:
    """A model can be written to a cache or a snapshot and read back as it was."""
    from msgspec import json

    judge = Judge(today=_TODAY)
    judge.replay(_TABLE + "CREATE INDEX a ON orders (qty); CREATE TYPE e AS ENUM ('x');")
    assert json.decode(json.encode(judge.schema), type=Schema) == judge.schema


def test_a_snapshot_is_the_model_as_json() -> None:
    """What is written of a model is read back as the same model, and another version is refused."""
    judge = Judge(today=_TODAY)
    judge.replay(_TABLE)
    taken = Snapshot("1", 16, "2030-01-01T00:00:00Z", judge.schema)
    assert read(write(taken)) == taken
    with pytest.raises(ConfigError):
        read(write(taken).replace(b'"schemaVersion": "1"', b'"schemaVersion": "9"'))


ALLOW = '-- lockgate: allow={} until=2999-01-01 reason="known"\n'
PAIR = "CREATE INDEX one ON orders (id); CREATE INDEX two ON orders (id);\n"


def test_an_allowance_covers_one_statement_of_a_line() -> None:
    """Of two statements in one line, the allowance above it covers the first alone."""
    judge = Judge(today=_TODAY)
    judge.replay("CREATE TABLE orders (id bigint PRIMARY KEY);")
    found = judge.judge(Source("f.sql", ALLOW.format("idx-create-blocking") + PAIR)).findings
    (left,) = (one for one in found if one.id == "idx-create-blocking")
    assert (left.statement, left.line) == (1, 2)
    assert not [one for one in found if one.id == "suppression-useless"]


def test_what_is_not_understood_is_never_hidden() -> None:
    """An allowance makes it a warning with the reason in it, and the statement stays `understood: false`."""
    judge = Judge(today=_TODAY)
    text = ALLOW.format("not-understood") + "EXECUTE prepared;\n"
    answer = judge.judge(Source("f.sql", text))
    (left,) = (one for one in answer.findings if one.id == "not-understood")
    assert left.severity == "warning"
    assert "allowed until 2999-01-01: known" in left.message
    assert [one.understood for one in answer.statements] == [False]


def test_what_nobody_can_allow_is_said() -> None:
    """An allowance of a hazard that cannot be allowed is an error, and hides nothing."""
    judge = Judge(today=_TODAY)
    found = judge.judge(Source("f.sql", ALLOW.format("tx-nesting") + "COMMIT;\n")).findings
    assert {"tx-nesting", "suppression-unknown"} <= {one.id for one in found if one.severity == "error"}


POOL = [
    "CREATE INDEX {n} ON orders (qty);",
    "ALTER TABLE orders DROP COLUMN code;",
    "ALTER TABLE orders ALTER COLUMN qty TYPE bigint;",
    "ALTER TABLE orders ADD COLUMN {n} serial;",
    "UPDATE orders SET qty = 1;",
    "COMMENT ON TABLE orders IS 'x';",
    "EXECUTE prepared;",
    "ALTER TABLE orders ADD CONSTRAINT {n} CHECK (qty > 0);",
    "TRUNCATE orders;",
    "BEGIN;",
]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.sampled_from(POOL), st.booleans()), min_size=1, max_size=7),
    st.integers(0, 6),
    st.sampled_from(sorted(HAZARDS)),
)
def test_an_allowance_takes_away_nothing_outside_its_span(
    chosen: list[tuple[str, bool]], where: int, hazard: str
) -> None:
    """Wherever it is put and whatever it names: only that hazard on that one statement can go, and nothing else."""
    lines: list[list[str]] = []
    for number, (words, joined) in enumerate(chosen):
        statement = words.format(n=f"x{number}")
        if joined and lines:
            lines[-1].append(statement)
        else:
            lines.append([statement])
    at = where % len(lines)
    first = sum(len(line) for line in lines[:at])
    texts = [" ".join(line) for line in lines]
    before = judged("\n".join(texts) + "\n").findings
    allowed = [*texts[:at], ALLOW.format(hazard).rstrip(), *texts[at:]]
    after = judged("\n".join(allowed) + "\n").findings

    def left(findings: list[Finding], added: int) -> list[tuple[str, int, int]]:
        return sorted(
            (one.id, one.line - (added if one.line > at else 0), one.statement)
            for one in findings
            if not one.id.startswith("suppression-")
        )

    gone = set(left(before, 0)) - set(left(after, 1))
    assert all(named == hazard and line == at + 1 and number in (first, -1) for named, line, number in gone)


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("EXECUTE q (1);", "the prepared query itself"),
        ("CREATE TABLE a AS EXECUTE q;", "CREATE TABLE AS with the prepared query"),
        ("IMPORT FOREIGN SCHEMA s FROM SERVER x INTO public;", "CREATE FOREIGN TABLE"),
    ],
)
def test_what_only_a_server_knows_is_refused_with_what_to_write(text: str, fix: str) -> None:
    """A prepared query and a foreign schema are not in the file; the finding says what to write in their place."""
    judge = Judge(today=date(2030, 1, 1))
    (found,) = [each for each in judge.judge(Source("f.sql", text)).findings if each.id == "not-understood"]
    assert found.severity == "error"
    assert fix in found.fix
