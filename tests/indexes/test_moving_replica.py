"""A move into an index that reads the table from a standby."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from indexes.test_moving import Hand
from lockgate.indexes.moving import drive
from lockgate.indexes.moving.opened import OpenedIndex, opened_index
from lockgate.moves.dual.into import parse_index
from lockgate.moves.dual.pair import Urls, replica_url
from moves.conftest import pair  # noqa: F401 - the fixture
from support.calls import Project
from support.processes import until
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")


class Reading(Hand):
    """A move whose declaration names a replica."""

    replica = ""

    @contextmanager
    def open(self) -> Iterator[OpenedIndex]:
        declared = parse_index(self.file, "into")
        places = Urls(self.source, "", replica_url(declared, {"READ": self.replica}))
        with opened_index(declared, self.home, places, "test") as move:
            yield move


def test_copied_and_compared_from_the_standby(pair, tmp_path: Path, database: str):  # noqa: F811
    """The generation holds what the table holds, and the rows were read on the standby; the primary in its place is refused by the plan; once the variable is gone the move is still paused, shown and aborted."""
    primary, standby = pair
    run_sql(
        primary.url(),
        "CREATE TABLE articles (id bigint PRIMARY KEY, body text)",
        "INSERT INTO articles SELECT g, 'words of ' || g FROM generate_series(1, 90) g",
    )
    move = Reading(tmp_path, database, primary.url(), "fts")
    move.file.write_text(
        move.file.read_text().replace('url_env = "APP"', 'url_env = "APP"\nreplica_env = "READ"')
    )
    move.replica = primary.url()
    assert any("it takes writes itself" in p["what"] for p in move.call(drive.plan).problems)
    move.replica = standby.url()
    move.through()
    assert move.held("0001") == move.texts()
    until(
        lambda: (
            standby.execute(
                "SELECT seq_scan + idx_scan > 0 FROM pg_stat_user_tables WHERE relname = 'articles'"
            )
            == [(True,)]
        )
    )
    project = Project(tmp_path, database)
    project.environ["APP"] = primary.url()
    assert "READ is not set" in project.json("move", "verify", "into").error("MOVE_DECLARATION")["message"]
    for command in (("pause", "into", "--reason", "x"), ("status",), ("abort", "into")):
        project.ok("move", "move", *command)
