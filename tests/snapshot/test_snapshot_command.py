"""``lockgate snapshot`` as a user calls it."""

import json
from pathlib import Path

import pytest

from support.calls import Project, validate

pytestmark = pytest.mark.postgres("18")


def test_snapshot_to_a_file_and_judged(database: str, tmp_path: Path) -> None:
    """The file is valid, names the newest revision, and `check` starts from it."""
    project = Project(tmp_path, database)
    project.write("first", "CREATE TABLE t (a int);")
    assert project.run("up").code == 0
    revision = f"{1_700_000_000_000 + 1:013d}"
    answer = project.text("snapshot", "--output", "state.json")
    assert answer.code == 0, answer
    assert "check --snapshot state.json" in answer.out
    document = json.loads((tmp_path / "state.json").read_text("utf-8"))
    validate("snapshot", document)
    assert document["schemaRev"] == revision
    assert list(document["schema"]["relations"]) == ["t"]
    assert project.run("check", "--snapshot", "state.json").code == 0


def test_snapshot_on_stdout_is_one_document(database: str, tmp_path: Path) -> None:
    """Without --output the snapshot itself is the answer, in both formats; with json also beside a file."""
    project = Project(tmp_path, database)
    text = project.run("snapshot")
    assert text.code == 0, text
    validate("snapshot", json.loads(text.out))
    both = project.json("snapshot", "--output")
    assert both.code == 0, both
    validate("snapshot", json.loads(both.out))
    assert (tmp_path / "lockgate.snapshot.json").read_text("utf-8") == both.out


def test_a_file_that_cannot_be_written(database: str, tmp_path: Path) -> None:
    """A folder that is not there is an error of the call."""
    answer = Project(tmp_path, database).json("snapshot", "--output", "none/state.json")
    assert answer.code == 2
    answer.error("USAGE")
