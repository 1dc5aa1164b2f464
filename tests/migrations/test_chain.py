"""Whatever a superuser does to the stored history, the chain and its head in the fence show it."""

from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lockgate.errors import Refused
from lockgate.migrations.history import CANONICAL, read_history, read_source
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Call, Wire
from support.calls import Project

pytestmark = pytest.mark.postgres("16", "18")
ROWS = 5
FORGED = {
    "revision_id": "left(revision_id, 12) || '9'",
    "applied_at": "applied_at + interval '1 microsecond'",
    "started_at": "started_at - interval '1 day'",
    "checksum": "md5(checksum) || md5(checksum)",
    "operator": "operator || ' '",
    "name": "upper(name)",
    "ordinal": "ordinal + 100",
    "phase": "CASE phase WHEN 'expand' THEN 'contract' ELSE 'expand' END",
    "state": "'adopted'",
    "duration_ms": "duration_ms + 1",
    "run_id": "reverse(run_id) || '0'",
    "release_id": "'r1'",
    "xid": "xid || '1'",
    "epoch": "epoch + 1",
    "tool_version": "tool_version || '.1'",
    "schema_digest": "'d'",
    "prev_hash": "md5(prev_hash)",
    "row_hash": "md5(row_hash)",
}
"""Column → another value of its type. ``source_text`` is guarded by ``checksum`` and has a test of its own."""
_ROW = "ordinal = {0}"
RESEAL = f"""
DO $$ DECLARE r record; previous text := ''; number int := 0; BEGIN
  FOR r IN SELECT revision_id FROM lockgate.migration_history ORDER BY ordinal LOOP
    number := number + 1;
    UPDATE lockgate.migration_history SET prev_hash = previous, ordinal = number WHERE revision_id = r.revision_id;
    UPDATE lockgate.migration_history h SET row_hash = encode(sha256(convert_to({CANONICAL}, 'UTF8')), 'hex')
     WHERE revision_id = r.revision_id RETURNING row_hash INTO previous;
  END LOOP;
END $$
"""
"""What a patient forger does: every row hashed anew from the first to the last."""


@pytest.fixture
def wire(tmp_path, database: str) -> Iterator[Wire]:
    """A superuser's session on a database with a history of ``ROWS`` files."""
    project = Project(tmp_path, database)
    for number in range(ROWS):
        project.write(f"m{number}", f"CREATE TABLE t{number} (id int);\n")
    assert project.run("up").code == 0
    wire = Wire(Target(database, source="test"), "test")
    wire.one("SET session_replication_role = replica")
    wire.one("CREATE TABLE kept_rows AS TABLE lockgate.migration_history")
    wire.one("CREATE TABLE kept_fence AS TABLE lockgate.fence")
    yield wire
    wire.close()


def restore(wire: Wire) -> None:
    """Put the history back as the run left it."""
    if wire.in_transaction:
        wire.one("ROLLBACK")
    wire.batch(
        [
            Call("TRUNCATE lockgate.migration_history, lockgate.fence"),
            Call("INSERT INTO lockgate.migration_history TABLE kept_rows"),
            Call("INSERT INTO lockgate.fence TABLE kept_fence"),
        ]
    )


def after(wire: Wire, *statements: str) -> str:
    """What is said of the chain after these statements, made with the triggers off; then all is as before."""
    for statement in statements:
        wire.one(statement)
    told = read_history(wire).broken
    restore(wire)
    return told


def test_every_column_is_chained(wire: Wire):
    """One changed value in any column of any row is found, and the table has no column that this test does not know."""
    columns = {
        row[0]
        for row in wire.one(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'lockgate.migration_history'::regclass AND attnum > 0"
        ).rows
    }
    assert columns == {*FORGED, "source_text"}
    assert after(wire) == ""
    for column, value in FORGED.items():
        for ordinal in range(1, ROWS + 1):
            told = after(
                wire, f"UPDATE lockgate.migration_history SET {column} = {value} WHERE ordinal = {ordinal}"
            )
            assert told, (column, ordinal)


def test_the_row_is_named(wire: Wire):
    """What is told names the revision that was changed, or the row that is missing."""
    second = wire.value("SELECT revision_id FROM lockgate.migration_history WHERE ordinal = 2")
    assert f"the row of revision {second} was changed" in after(
        wire, "UPDATE lockgate.migration_history SET operator = 'x' WHERE ordinal = 2"
    )
    assert "row 2 is missing" in after(wire, "DELETE FROM lockgate.migration_history WHERE ordinal = 2")
    assert "last rows were changed or deleted" in after(
        wire, "DELETE FROM lockgate.migration_history WHERE ordinal = 5"
    )
    assert "the fence row is gone" in after(wire, "DELETE FROM lockgate.fence")
    wire.one("ALTER TABLE lockgate.migration_history RENAME TO gone")
    assert "damaged" in read_history(wire).broken


ordinals = st.integers(1, ROWS)
forgeries = st.one_of(
    st.tuples(st.just("delete"), ordinals, ordinals),
    st.tuples(st.just("swap"), ordinals, ordinals),
    st.tuples(st.just("insert"), ordinals, ordinals),
    st.tuples(st.just("update"), ordinals, st.sampled_from(sorted(FORGED))),
    st.tuples(st.just("truncate"), ordinals, ordinals),
    st.tuples(
        st.just("fence"),
        ordinals,
        st.sampled_from(["head = md5(head)", "ordinal = ordinal - 1", "ordinal = 0"]),
    ),
)


def sql_of(forgery: tuple[str, int, object]) -> list[str]:
    """The statements of one forgery."""
    kind, one, other = forgery
    table = "lockgate.migration_history"
    if kind == "delete":
        return [f"DELETE FROM {table} WHERE ordinal BETWEEN {min(one, other)} AND {max(one, other)}"]  # type: ignore[type-var]
    if kind == "swap":
        return [
            f"UPDATE {table} SET ordinal = 99 WHERE ordinal = {one}",
            f"UPDATE {table} SET ordinal = {one} WHERE ordinal = {other}",
            f"UPDATE {table} SET ordinal = {other} WHERE ordinal = 99",
        ]
    if kind == "insert":
        return [
            f"CREATE TEMP TABLE forged ON COMMIT DROP AS SELECT * FROM {table} WHERE ordinal = {one}",
            f"UPDATE forged SET ordinal = {ROWS} + {other}, revision_id = '99999999999' || {other}",
            f"INSERT INTO {table} SELECT * FROM forged ON CONFLICT DO NOTHING",
            "DROP TABLE forged",
        ]
    if kind == "update":
        return [f"UPDATE {table} SET {other} = {FORGED[str(other)]} WHERE ordinal = {one}"]
    if kind == "truncate":
        return [f"TRUNCATE {table}"]
    return [f"UPDATE lockgate.fence SET {other}"]


def content(wire: Wire) -> str:
    """All rows and the head as one text."""
    return (
        wire.value(
            "SELECT md5(string_agg(h::text, '|' ORDER BY ordinal)) || (SELECT head || ordinal FROM lockgate.fence) FROM lockgate.migration_history h"
        )
        or "empty"
    )


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(forgeries, min_size=1, max_size=3), st.booleans())
def test_any_forgery_is_found(wire: Wire, many: list[tuple[str, int, object]], reseal: bool):
    """Updates, deletions, re-orderings, insertions, a truncation, also with every hash made anew: found, unless they undo each other.

    Rows and fence forged to fit each other are beyond what one database can show; the artifacts hold the head for that.
    """
    before = content(wire)
    try:
        wire.one("BEGIN")
        for number, forgery in enumerate(many):
            for statement in sql_of(forgery):
                wire.one(f"SAVEPOINT s{number}")
                try:
                    wire.one(statement)
                except ServerError as error:  # an ordinal or a revision that is there already
                    if error.sqlstate != "23505":
                        raise
                    wire.one(f"ROLLBACK TO s{number}")
        if reseal:
            wire.one(RESEAL)
        wire.one("COMMIT")
        assert bool(read_history(wire).broken) == (content(wire) != before)
    finally:
        restore(wire)
    assert read_history(wire).broken == ""


def test_the_applied_text_is_held_to_its_checksum(wire: Wire):
    """A changed text is noticed where it would be shown, as what was applied."""
    revision = wire.value("SELECT revision_id FROM lockgate.migration_history WHERE ordinal = 3") or ""
    assert "CREATE TABLE t2" in read_source(wire, revision)
    assert read_source(wire, "0000000000000") == ""
    wire.one("UPDATE lockgate.migration_history SET source_text = replace(source_text, 't2', 't3')")
    with pytest.raises(Refused) as caught:
        read_source(wire, revision)
    assert caught.value.code == "HISTORY_TAMPERED"


@pytest.mark.parametrize("table", ["migration_history", "history_event"])
def test_the_history_is_append_only(wire: Wire, database: str, table: str):
    """Without switching triggers off not even a superuser changes a row, deletes one or truncates; also not by naming an old event."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO lockgate.history_event (kind, actor, reason, run_id, head_before) VALUES ('repair', 'a', 'r', 'x', '')"
        )
        connection.execute(
            "SELECT set_config('lockgate.history_event', max(id)::text, false) FROM lockgate.history_event"
        )
        column = {"migration_history": "operator", "history_event": "reason"}[table]
        for statement in (
            f"UPDATE lockgate.{table} SET {column} = 'x'",
            f"DELETE FROM lockgate.{table}",
            f"TRUNCATE lockgate.{table}",
        ):
            with pytest.raises(psycopg.Error, match="append-only") as caught:
                connection.execute(statement)
            assert caught.value.sqlstate == "LG001"
