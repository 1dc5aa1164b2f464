"""The face over the parser: nothing is skipped in silence, and nothing crashes it."""

import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_forms import BASE, forms

from lockgate.postgres.tree import SyntaxProblem, statements_of, tables
from lockgate.postgres.tree import words as w


def test_a_statement_without_a_word_is_not_understood() -> None:
    """What the vocabulary lacks comes out as NotUnderstood, with the parser's name for it."""
    (item,) = statements_of("EXECUTE prepared")
    assert isinstance(item.statement, w.NotUnderstood)
    assert item.statement.node == "ExecuteStmt"


def test_an_unknown_action_is_not_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    """One unknown sub-action makes the whole ALTER TABLE not understood, never shorter."""
    monkeypatch.delitem(tables._ACTIONS, "AT_GenericOptions")
    (item,) = statements_of("ALTER FOREIGN TABLE t ADD COLUMN a int, OPTIONS (ADD b 'c')")
    assert isinstance(item.statement, w.NotUnderstood)


def test_do_block_and_transaction_control_are_understood() -> None:
    """A DO block is opaque and transaction control is refused; neither is an unknown."""
    do, begin = statements_of("DO $$ BEGIN END $$; BEGIN")
    assert isinstance(do.statement, w.DoBlock)
    assert isinstance(begin.statement, w.TransactionControl)


def test_lines_are_those_of_the_first_word() -> None:
    """Comments, blank lines and nested comments above a statement do not move its line."""
    text = "-- a\n\n/* b /* c */\n */ SELECT 1;\n\n-- d ; e\n  SELECT 2; SELECT\n3"
    assert [item.line for item in statements_of(text)] == [4, 7, 7]


@pytest.mark.parametrize("text", ["SELEC 1", "SELECT 1;\0DROP TABLE a;", "(" * 30_000])
def test_what_does_not_parse_says_so(text: str) -> None:
    """A syntax error, a NUL byte and an endless nesting are syntax problems."""
    with pytest.raises(SyntaxProblem):
        statements_of(text)


@pytest.mark.parametrize("length", [2_000, 60_000])
def test_endless_expressions_block_and_do_not_crash(length: int) -> None:
    """An expression too deep to walk is not understood; the parser's own recursion has room for it."""
    (item,) = statements_of("SELECT " + "+".join(["1"] * length))
    assert isinstance(item.statement, w.NotUnderstood)


_EVERY = [
    text for text in (*BASE.split(";\n"), *forms("every_version.sql"), *forms("from_18.sql")) if text.strip()
]


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(_EVERY), st.sampled_from(_EVERY), st.randoms(use_true_random=False))
def test_mutated_sql_never_crashes(one: str, other: str, random: "object") -> None:
    """Statements with words taken from each other parse to words or fail as syntax: nothing else."""
    mine, theirs = one.split(), other.split()
    for _ in range(random.randint(1, 4)):  # type: ignore[attr-defined]
        mine[random.randrange(len(mine))] = random.choice(theirs)  # type: ignore[attr-defined]
    try:
        located = statements_of(" ".join(mine))
    except SyntaxProblem:
        return
    for item in located:
        if isinstance(item.statement, w.NotUnderstood):
            assert "unexpected shape" not in item.statement.why, (mine, item.statement)


def test_the_parser_package_is_not_imported() -> None:
    """Only the library is loaded: the parser's Python package would cost 60 ms and 15 MB."""
    import subprocess

    code = "import sys, lockgate.policy.judge; sys.exit('postgast' in sys.modules or 'google' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
