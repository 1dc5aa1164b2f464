"""Rows that are changed inside WITH, or by a MERGE, are rows that are changed."""

from datetime import date

import pytest

from lockgate.policy.judge import Judge, Source

_BASE = "CREATE TABLE note (id bigint PRIMARY KEY, body text); CREATE TABLE log (id bigint);"


def found(text: str) -> list[tuple[str, str]]:
    """Severity and id of what is found in a file of an existing schema."""
    judge = Judge(today=date(2030, 1, 1))
    judge.replay(_BASE)
    return [(each.severity, each.id) for each in judge.judge(Source("f.sql", text, "expand")).findings]


@pytest.mark.parametrize(
    "text",
    [
        "WITH gone AS (DELETE FROM note RETURNING id) SELECT count(*) FROM gone;",
        "WITH gone AS (DELETE FROM note RETURNING id) INSERT INTO log SELECT id FROM gone;",
        "WITH told AS (UPDATE note SET body = '' RETURNING id) INSERT INTO log SELECT id FROM told;",
        "MERGE INTO note USING (SELECT 1) s ON true WHEN MATCHED THEN DELETE;",
        "MERGE INTO note USING (SELECT 1) s ON true WHEN MATCHED THEN UPDATE SET body = '';",
        "EXPLAIN ANALYZE WITH gone AS (DELETE FROM note RETURNING id) SELECT FROM gone;",
    ],
)
def test_every_row_is_changed(text: str) -> None:
    """An UPDATE or DELETE of everything is an error wherever it stands."""
    assert ("error", "dml-no-where") in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "WITH gone AS (DELETE FROM note WHERE body = 'x' RETURNING body) SELECT count(*) FROM gone;",
        "MERGE INTO note USING (SELECT 'x' AS body) s ON s.body = note.body WHEN MATCHED THEN DELETE;",
    ],
)
def test_no_key_bounds_it(text: str) -> None:
    """One whose condition names no indexed column is a backfill in one statement."""
    assert ("warning", "dml-unbatched-backfill") in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "WITH gone AS (DELETE FROM note WHERE id < 10 RETURNING id) SELECT count(*) FROM gone;",
        "MERGE INTO note USING (VALUES (1, 'a')) s (id, body) ON s.id = note.id WHEN MATCHED THEN UPDATE SET body = s.body WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.body);",
        "WITH fresh AS (INSERT INTO log VALUES (1) RETURNING id) SELECT id FROM fresh;",
        "CREATE TABLE own (id bigint PRIMARY KEY); WITH gone AS (DELETE FROM own RETURNING id) SELECT FROM gone;",
        "EXPLAIN WITH gone AS (DELETE FROM note RETURNING id) SELECT FROM gone;",
        "MERGE INTO note USING log ON true WHEN NOT MATCHED THEN INSERT VALUES (1, 'a');",
    ],
)
def test_what_is_bounded(text: str) -> None:
    """What a key bounds, what only adds, what the file itself made and what does not run is neither."""
    assert {"dml-no-where", "dml-unbatched-backfill"}.isdisjoint(name for _, name in found(text))


@pytest.mark.parametrize(
    "text",
    [
        "WITH gone AS (DELETE FROM note WHERE id < 10 RETURNING id) SELECT count(*) FROM gone;",
        "MERGE INTO note USING (VALUES (1)) s (id) ON s.id = note.id WHEN MATCHED THEN DELETE;",
    ],
)
def test_nothing_puts_them_back(text: str) -> None:
    """Rows that are deleted so are told as what cannot be put back."""
    assert ("info", "rep-irreversible-unmarked") in found(text)
