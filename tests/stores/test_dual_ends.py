"""How a move that the application writes ends before its time, and what `move status` tells of its outbox."""

from pathlib import Path

import pytest

from lockgate.moves.dual import DualWriter
from stores.hand import declared, row
from support.calls import Project

pytestmark = pytest.mark.postgres("18")


def writer(project: Project) -> DualWriter:
    """The application of the project's move."""
    return DualWriter.from_file(project.root / "moves" / "things.toml", project.environ, instance="w")


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
