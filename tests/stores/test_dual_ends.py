"""How a move that the application writes ends before its time, and what `move status` tells of its outbox."""

import json
from pathlib import Path

import msgspec
import pytest

from indexes.test_moving import hand as index  # noqa: F401 - the fixture
from lockgate.errors import LockgateError
from lockgate.indexes.moving import drive as into
from lockgate.moves.dual import DualWriter, drive
from lockgate.moves.dual.copy import backfill
from lockgate.postgres.moves import ledger
from stores.conftest import Place
from stores.hand import Hand, declared, row
from stores.test_conformance import ROWS
from support.calls import Project
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")


def left(folder: Path, name: str) -> dict[str, object]:
    """The incident file of a move; its postmortem is there, too."""
    (page,) = (folder / "docs" / "postmortems").glob(f"move-{name}-*.md")
    assert "## Root cause" in page.read_text()
    return json.loads((folder / ".artifacts" / "moves" / name / "incident.json").read_text())  # type: ignore[no-any-return]


def writer(project: Project) -> DualWriter:
    """The application of the project's move."""
    return DualWriter.from_file(project.root / "moves" / "things.toml", project.environ, instance="w")


def test_an_abort_leaves_its_incident(places, database: str, tmp_path: Path):
    """`move abort` writes the incident file and opens the postmortem, and its reason stands in `move status`."""
    source, target = places("sqlite"), places("postgres")
    project = declared(tmp_path, database, source, target)
    project.ok("move", "move", "start", "things")
    done = project.ok("move", "move", "abort", "things", "--reason", "the wrong store")
    said = left(tmp_path, "things")
    assert (said["stage"], said["reason"], said["traffic"]) == ("aborted", "the wrong store", "source")
    assert done["result"]["incident"].endswith("incident.json")
    assert project.ok("move", "move", "status", "things")["moves"][0]["reason"] == "the wrong store"


def drifts(project: Project, name: str, ledger: str) -> None:
    """A drift that was measured bars the cutover, and one that lasts for 15 minutes ends the move with incident and postmortem."""
    assert project.json("move", "observe", name, "--delta-s", "nan").error("USAGE")["exitCode"] == 2
    assert project.ok("move", "move", "observe", name, "--delta-s", "0.2")["result"]["aborted"] is False
    refused = project.json("move", "cutover", name).error("MOVE_STAGE")
    assert "ΔS was 0.2" in refused["message"]
    run_sql(ledger, "UPDATE lockgate.move_event SET at = at - interval '16 minutes' WHERE kind = 'delta_s'", "UPDATE lockgate.move SET started_at = started_at - interval '1 hour'")  # fmt: skip
    answer = project.json("move", "observe", name, "--delta-s", "0.3")
    assert answer.code == 1
    assert answer.document("move")["stage"] == "aborted"
    assert "ΔS stays above 0.05 for 16 minutes" in str(left(project.root, name)["reason"])


def test_a_drift_that_lasts_ends_the_move(places, database: str, tmp_path: Path):
    """`move observe` knows moves between stores: a drift above the limit bars the cutover, and aborts the move when it lasts."""
    source, target = places("sqlite"), places("postgres")
    source.fill(ROWS)
    project = declared(tmp_path, database, source, target)
    project.ok("move", "move", "run", "things")
    drifts(project, "things", database)


def test_a_drift_that_lasts_ends_a_move_into_an_index(index, tmp_path: Path):  # noqa: F811
    """The same of a move into an index, whose answers are what drifts."""
    move = index("fts5")
    move.through()
    project = Project(tmp_path, move.ledger)
    project.environ["APP"] = move.source
    drifts(project, "into", move.ledger)
    assert move.call(into.start, operator="t") == "dual_write", "nothing of it is in the way of another one"


def test_too_many_refused_rows_pause_the_move(places, database: str, tmp_path: Path):
    """With more refused rows than ``limits.quarantine_rows`` the copy ends and the move is paused; once the target is mended it goes on to the proof."""
    source, target = places("sqlite"), places("postgres")
    source.fill(ROWS)
    run_sql(target.url, "ALTER TABLE t ALTER COLUMN u SET NOT NULL")
    limits = "[limits]\nmax_connections_percent = 100\nmax_lock_waiters = 1000\nmax_commit_ms = 0\nbatch_rows = 4\nworkers = 1\nquarantine_rows = 0\n"
    project = declared(tmp_path, database, source, target, more=limits)
    project.ok("move", "move", "start", "things")
    error = project.json("move", "backfill", "things").error("MOVE_QUARANTINE")
    assert "more than limits.quarantine_rows = 0" in error["message"]
    assert project.ok("move", "move", "status", "things")["moves"][0]["stage"] == "paused"
    run_sql(target.url, "ALTER TABLE t ALTER COLUMN u DROP NOT NULL")
    project.ok("move", "move", "resume", "things")
    project.ok("move", "move", "backfill", "things", "--retry")
    assert project.ok("move", "move", "run", "things")["stage"] == "reconciled"


def test_the_cap_holds_within_a_batch(places, database: str):
    """A batch whose rows are all refused is left at the first row too many, and not tried to its end; what stands beside refused rows is copied, and the number that is told is the number there is."""
    source, target = places("sqlite"), places("mysql")
    source.fill(ROWS)
    target.run("ALTER TABLE t MODIFY u varchar(1) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    move = Hand(source, target, database, writers=0)
    move.declared = msgspec.structs.replace(move.declared, limits=msgspec.structs.replace(move.declared.limits, batch_rows=1000, quarantine_rows=7))  # fmt: skip
    move.call(drive.start, operator="t")
    with pytest.raises(
        LockgateError, match=r"8 rows stand in quarantine, more than limits\.quarantine_rows = 7"
    ):
        move.call(backfill)
    with move.open() as opened:
        assert opened.row().stage == "paused"
        assert ledger.count_quarantined(opened.home, "things") == 8
    move.declared = msgspec.structs.replace(move.declared, limits=msgspec.structs.replace(move.declared.limits, quarantine_rows=200))  # fmt: skip
    move.call(drive.resume)
    move.call(backfill)
    nulls = sum(row[-1] is None for row in ROWS)
    with move.open() as opened:
        assert len(opened.pair.target.between(None, None)) == nulls
        assert ledger.count_quarantined(opened.home, "things") == len(ROWS) - nulls
    run_sql(database, "INSERT INTO lockgate.move_quarantine (move, feed, key, sqlstate, message) SELECT 'things', 'forward', ARRAY['k' || n], '', 'x' FROM generate_series(1, 1500) n")  # fmt: skip
    with pytest.raises(LockgateError, match=f"^{1500 + len(ROWS) - nulls} rows stand"):  # fmt: skip
        move.call(drive.reconcile)


@pytest.mark.parametrize("kind", ["postgres", "mysql", "sqlite"])
def test_a_move_whose_table_is_gone_can_be_aborted(places, database: str, kind: str):
    """The target was dropped behind the move's back: the next command pauses it, and `abort` ends it, so that the application writes the source alone and no side table is left on either side."""
    source, target = places("postgres" if kind != "postgres" else "sqlite"), places(kind)
    move = Hand(source, target, database, writers=0)
    move.call(drive.start, operator="t")
    target.run("DROP TABLE t")
    move.call(drive.abort, reason="gone")
    assert run_sql(database, "SELECT stage, reason FROM lockgate.move") == [("aborted", "gone")]
    target.run("CREATE TABLE t (id bigint PRIMARY KEY)")
    for place in (source, target):
        assert side_tables(place) == ["switch"]


def side_tables(place: Place) -> list[str]:
    """What is left beside the table of one side."""
    from contextlib import closing

    from lockgate.stores.side import Side
    from lockgate.stores.speaking import NoTable, speak
    from lockgate.stores.table import Table

    with closing(speak(place.url, "test", "test")) as speaker:
        side = Side(speaker, "things", Table("t", (), (), 0, speaker.engine, 0, ""), (), (), ())
        found = []
        for what in ("op", "rev", "switch", "writer"):
            try:
                speaker.ask(f"SELECT count(*) FROM {side._side(what)}")
                found.append(what)
            except NoTable:
                continue
        return found


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
def test_status_counts_the_outbox(places, database: str, tmp_path: Path, kind: str):
    """`move status` counts what waits on the side that serves, before the cutover and after it, and what of it failed; where the variable of that side is not set it says that nobody knows."""
    source, target = places(kind), places(kind)
    project = declared(tmp_path, database, source, target)
    project.ok("move", "move", "start", "things")

    def status() -> dict[str, object]:
        return project.ok("move", "move", "status", "things")["moves"][0]  # type: ignore[no-any-return]

    assert status()["outbox"] == 0
    target.run("ALTER TABLE t ADD CONSTRAINT few CHECK (id < 2)")
    with writer(project) as application:
        application.put(row(2, "two"))
    seen = status()
    assert (seen["outbox"], str(seen["note"]).partition(" and")[0]) == (1, "1 second leg failed")
    target.run("ALTER TABLE t DROP CONSTRAINT few")
    project.ok("move", "move", "run", "things", "--cutover")
    assert status()["outbox"] == 0
    source.run("ALTER TABLE t ADD CONSTRAINT few CHECK (id < 3)")
    with writer(project) as application:
        application.put(row(3, "three"))
    assert status()["outbox"] == 1
    del project.environ["OTHER"]
    seen = status()
    assert seen["outbox"] == -1
    assert "the variable OTHER is not set here" in str(seen["note"])
