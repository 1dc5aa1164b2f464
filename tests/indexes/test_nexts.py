"""The next command that is named is one that can be typed, and is the right one."""

import shlex
from pathlib import Path

import psycopg
import pytest

from indexes.conftest import make_records
from indexes.lives import GOLD, records_file
from lockgate.indexes.check import within
from lockgate.indexes.inspect import causes_of
from lockgate.indexes.register import writing
from lockgate.postgres.link import Link
from support.calls import Project

pytestmark = pytest.mark.postgres("18")


def test_a_second_rollback_names_the_swap(swapped: Project):
    """After a rollback a second one is refused with the swap that leads forward, which works as printed."""
    swapped.ok("index", "index", "rollback", "help")
    told = swapped.json("index", "rollback", "help").error("INDEX_NOT_READY")["next"]
    command, _, rest = told.partition(" leads forward")
    assert rest == " again"
    assert swapped.ok("index", *shlex.split(command)[1:])["after"] == "0002"


def test_a_busy_index_names_the_same_call(tmp_path: Path, database: str, link: Link):
    """A build that found another command at work names itself with its options, and not `up`."""
    project = Project(tmp_path, database)
    path = records_file(tmp_path / "my records", make_records(5))
    project.ok("index", "index", "build", "two", "--records", path)
    with writing(link, "two", 1):
        told = project.json("index", "build", "two", "--records", path, "--raw-lengths", "--lock-wait", "0").error("LOCK_BUSY")["next"]  # fmt: skip
    command = told.partition("then: ")[2]
    assert "--raw-lengths" in command
    assert project.ok("index", *shlex.split(command)[1:])["generation"] == "0002"


def test_a_validation_names_what_comes_next(swapped: Project, database: str):
    """A pass names the swap, a fail the build; a cause does not repeat its own name."""
    validate = ("index", "validate", "help", "--against", "0001", "--generation", "0002", "--gold", str(GOLD))
    swapped.ok("index", "index", "rollback", "help")
    assert swapped.ok("index-validate", *validate)["next"] == "lockgate index swap help --to 0002"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DELETE FROM lockgate_index.help__0002 WHERE length(text) % 3 = 0")
    failed = swapped.json(*validate)
    assert failed.code == 1
    assert "lockgate index build help" in failed.document("index-validate")["next"]
    assert "next: Mend" in swapped.run(*validate).out


def test_a_cause_is_named_once():
    """The check that is called as its cause is told by its words alone."""
    (cause,) = causes_of([within("ann-recall", 0.5, 0.98, at_most=False, details="overlap")])
    assert (cause.cause, cause.evidence) == ("ann-recall", "overlap")


def test_a_second_build_tells_of_the_first(tmp_path: Path, database: str):
    """A build beside a generation that is sealed and does not serve says so, and how that one is taken."""
    project = Project(tmp_path, database)
    for count in (5, 6):
        path = records_file(tmp_path / f"r{count}", make_records(count))
        told = project.text("index", "build", "d", "--records", path).out
    assert "generation 0001 of d is sealed and does not serve, and this makes 0002 beside it" in told
    assert "lockgate index swap d --to 0001" in told
    project.ok("index", "index", "swap", "d", "--to", "0002")
    told = project.text("index", "build", "d", "--records", path).out
    assert "0001" not in told.partition("next:")[0]
