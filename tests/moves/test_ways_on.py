"""What a person is told where a move goes no further: who serves, what is so, and a next command that can be typed."""

import pytest

from lockgate.errors import LockgateError, Refused
from lockgate.moves import cutover
from lockgate.postgres.wire import ConnectionLost
from moves.hand import Hand, make
from support.calls import Project
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")


def test_a_table_that_changed_since_the_cutover(project: Project, database: str):
    """A column that the target got in the tail: rollback, verify and finish say that the target serves and name the ways on, none calls the old side current; finish --now, which they name, goes through."""
    project.ok("move", "move", "run", "items", "--cutover")
    run_sql(database, "ALTER TABLE item ADD COLUMN extra int")
    for words in (("rollback",), ("verify",), ("finish",)):
        error = project.json("move", words[0], "items").error("MOVE_PAUSED")
        assert error["state"].startswith("The target serves")
        assert "lockgate move finish items --now" in error["next"]
        assert "--resume" not in error["next"]
    assert project.ok("move", "move", "finish", "items", "--now")["stage"] == "finished"
    assert run_sql(database, "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'zz_lockgate%'") == [(0,)]
    assert run_sql(database, "SELECT count(*) FROM pg_class WHERE relname LIKE 'outbox%'") == [(0,)]


def test_a_feed_that_was_off(project: Project, database: str):
    """With the capture of the way back off, rollback prints a comparison of the two tables by the names that they have now, and typed as it stands it finds what was missed."""
    project.ok("move", "move", "run", "items", "--cutover")
    run_sql(database, "ALTER TABLE item DISABLE TRIGGER ALL", "UPDATE item SET v = 'lost' WHERE u = 9", "ALTER TABLE item ENABLE TRIGGER ALL")  # fmt: skip
    error = project.json("move", "rollback", "items").error("MOVE_DIVERGED")
    command = error["next"].partition("Compare both tables: lockgate ")[2].partition(";")[0]
    assert "URL --target URL" not in command
    project.environ["DATABASE_URL"] = database
    answer = project.json(*command.split())
    assert [d["kind"] for d in answer.document("move-verify")["differing"]] == ["changed"]


def test_a_rollback_beside_a_finish(database: str):
    """A rollback that finds the capture gone because somebody has just ended the move says that, and nothing of a broken feed; it waits for an end that is still at work."""
    make(database, 300)
    hand = Hand(database)
    hand.there()
    hand.cutover()
    with hand.open() as move:
        row = move.row()
        made = move.layout(row)
        run_sql(database, "DROP TRIGGER zz_lockgate_items_reverse ON item")
        looks: list[float] = []

        def end(seconds: float) -> None:
            looks.append(seconds)
            if len(looks) == 3:
                run_sql(database, "UPDATE lockgate.move SET stage = 'finished'")

        with pytest.raises(Refused) as caught:
            cutover.refuse_broken_feed(move, row, made, end)
        assert caught.value.code == "MOVE_STAGE"
        assert "finished meanwhile" in caught.value.message
        run_sql(database, "UPDATE lockgate.move SET stage = 'tail'")
        with pytest.raises(LockgateError) as broken:
            cutover.refuse_broken_feed(move, row, made, looks.append)
        assert "IS BROKEN" in broken.value.message


def test_a_server_that_dies_under_a_command(database: str):
    """A connection that is lost in the middle of a move names the command to call again, and no file in flight."""
    make(database, 300)
    hand = Hand(database)
    hand.there()

    def work() -> None:
        with hand.open() as move:
            run_sql(database, f"SELECT pg_terminate_backend({move.home.pid})")
            move.row()

    with pytest.raises(ConnectionLost) as caught:
        work()
    assert caught.value.next.startswith("lockgate move test items")
    assert "file" not in caught.value.state


def test_too_early_and_too_late(project: Project, database: str):
    """A cutover before the proof names what is missing, abort behind the switch names rollback."""
    project.ok("move", "move", "start", "items")
    assert project.json("move", "cutover", "items").error("MOVE_STAGE")["next"].startswith("lockgate move run items")  # fmt: skip
    project.ok("move", "move", "backfill", "items")
    assert project.json("move", "cutover", "items").error("MOVE_STAGE")["next"].startswith("lockgate move verify items")  # fmt: skip
    project.ok("move", "move", "run", "items", "--cutover")
    error = project.json("move", "abort", "items").error("MOVE_STAGE")
    assert error["next"].startswith("lockgate move rollback items")
    assert error["state"].startswith("The target serves")


def test_a_role_without_rights(project: Project, database: str):
    """Where the schema lockgate is closed to the role, status, start, run and index list say PRIVILEGE and no bug; nan is no drift."""
    project.ok("move", "move", "run", "items")
    assert project.json("move", "observe", "items", "--delta-s", "nan").error("USAGE")["exitCode"] == 2
    role = f"closed_{database.rpartition('_')[2]}"
    run_sql(database, f"CREATE ROLE {role} LOGIN", f"GRANT SELECT ON item TO {role}")
    try:
        url = database.replace("postgres@", f"{role}@")
        for words in (
            ("move", "status"),
            ("move", "start", "items"),
            ("move", "run", "items"),
            ("index", "list"),
        ):
            assert project.json(*words, "--database-url", url).error("PRIVILEGE")["exitCode"] == 77, words
    finally:
        run_sql(database, f"DROP OWNED BY {role}", f"DROP ROLE {role}")
