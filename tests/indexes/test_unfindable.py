"""Records that nobody could ever find, or that no store can keep: they are refused or set aside by name, and nothing is half made."""

import json
import random
from pathlib import Path
from typing import Any

import psycopg
import pytest

from indexes.conftest import make_records
from indexes.lives import records_file
from indexes.test_moving import Hand, hand, vector  # noqa: F401 - the fixture
from lockgate.indexes.moving import drive
from lockgate.moves.dual.copy import retry
from support.calls import Project

pytestmark = pytest.mark.postgres("18")


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("pgvector-embedder", {3: ("body", None), 4: ("body", " "), 5: ("body", "...")}),
        ("pgvector", {3: ("embedding", json.dumps([0.0] * 8)), 4: ("embedding", json.dumps([-0.0] * 8))}),
        ("fts", {3: ("body", None)}),
    ],
)
def test_rows_that_nobody_could_find_wait_in_quarantine(hand, kind: str, changes: dict[int, tuple[str, Any]]):  # noqa: F811
    """Rows whose text is NULL or empty, or whose vector has the length 0, stand in quarantine by their keys; mended, they are copied and the proof is clean."""
    move: Hand = hand(kind, "postgres")
    with psycopg.connect(move.source, autocommit=True) as connection:
        for id_, (column, value) in changes.items():
            connection.execute(f"UPDATE articles SET {column} = %s WHERE id = %s", (value, id_))
    move.call(drive.start, operator="t")
    with move.writer() as writer:
        writer.beat()
        move.copy()
        with move.open() as opened_:
            kept = opened_.home.rows("SELECT key FROM lockgate.move_quarantine ORDER BY 1")
        assert [row[0] for row in kept] == [[f"i:{n}"] for n in changes] or [row[0] for row in kept] == [[str(n)] for n in changes], kept  # fmt: skip
        assert not {str(n) for n in changes} & move.held("0001").keys()
        with psycopg.connect(move.source, autocommit=True) as connection:
            for id_, (column, _) in changes.items():
                good = json.dumps(vector(random.Random(id_))) if column == "embedding" else f"mended {id_}"
                connection.execute(f"UPDATE articles SET {column} = %s WHERE id = %s", (good, id_))
        assert move.call(retry) == len(changes)
    assert move.call(drive.reconcile).held.records == 90


def test_the_plan_sees_lengths(hand):  # noqa: F811
    """Stored vectors that are not of length 1 are a problem of the plan that names the setting for them."""
    move: Hand = hand("pgvector", "postgres")
    with psycopg.connect(move.source, autocommit=True) as connection:
        connection.execute("UPDATE articles SET embedding = '[1,2,3,4,5,6,7,8]'")
    (problem,) = move.call(drive.plan).problems
    assert "has the length 14.28" in problem["what"]
    assert "raw_lengths" in problem["fix"]


@pytest.mark.parametrize(
    ("vector", "words"), [([0.0] * 8, "zero-vectors: vectors of length 0, 1"), ([1.0] * 8, "unit-vectors: lengths from")]
)  # fmt: skip
def test_what_nobody_could_find_does_not_serve(
    tmp_path: Path, database: str, vector: list[float], words: str
):
    """Given vectors are built as they are, so that validate can name them; where nothing serves to validate against, the swap asks, and a person may decide."""
    project = Project(tmp_path, database)
    path = Path(records_file(tmp_path / "r", make_records(5)))
    path.write_text(path.read_text() + json.dumps({"_id": "wrong", "text": "t", "vector": vector}) + "\n")
    built = project.ok("index", "index", "build", "d", "--records", str(path))["generation"]
    error = project.json("index", "swap", "d", "--to", built).error("INDEX_NOT_READY")
    assert words in error["message"]
    assert not [g for g in project.ok("index", "index", "list")["generations"] if g.get("live")]
    project.ok("index", "index", "swap", "d", "--to", built, "--unvalidated")


def test_an_empty_text_for_an_embedder_is_refused(tmp_path: Path, database: str):
    """Its vector has the length 0: the build names the record, and leaves no generation behind."""
    project = Project(tmp_path, database)
    path = Path(records_file(tmp_path / "r", make_records(5)))
    path.write_text(path.read_text() + json.dumps({"_id": "wrong", "text": ""}) + "\n")
    error = project.json("index", "build", "d", "--records", str(path), "--embedder", "hashing:8").error("INDEX_RECORD")  # fmt: skip
    assert "'wrong' has a vector of length 0" in error["message"]
    assert project.ok("index", "index", "list")["generations"] == []


def test_lengths_that_are_meant(tmp_path: Path, database: str):
    """With --raw-lengths the same vectors are built."""
    project = Project(tmp_path, database)
    path = tmp_path / "r"
    path.write_text("".join(json.dumps({"_id": str(n), "text": "t", "vector": [n, 1.0]}) + "\n" for n in range(5)))  # fmt: skip
    assert project.ok("index", "index", "build", "d", "--records", str(path), "--raw-lengths")["records"] == 5


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"_id": "a", "text": "x\xff"}', "not UTF-8: the byte 0xff"),
        (b'{"_id": "a", "text": "x\\ud800y"}', "half of a surrogate pair"),
        (b'{"_id": "a", "text": "x", "payload": {"k": "\\udc00"}}', "half of a surrogate pair"),
        (b'{"_id": "a", "text": "x\\u0000y"}', "`text` holds a NUL"),
        (b'{"_id": "a\\u0000", "text": "x"}', "`_id` holds a NUL"),
    ],
)
def test_a_text_that_no_store_keeps(tmp_path: Path, database: str, line: bytes, words: str):
    """Bytes that are no UTF-8, half of a surrogate pair, a NUL: file, line and fault are named, and no generation is left behind."""
    project = Project(tmp_path, database)
    (tmp_path / "r").write_bytes(b'{"_id": "first", "text": "good"}\n' + line + b"\n")
    build = ("index", "build", "d", "--records", str(tmp_path / "r"), "--embedder", "hashing:8")
    error = project.json(*build).error("INDEX_RECORD")
    assert f"{tmp_path / 'r'}:2: " in error["message"]
    assert words in error["message"]
    assert project.ok("index", "index", "list")["generations"] == []
