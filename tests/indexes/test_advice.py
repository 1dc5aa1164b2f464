"""What comes after a validation that cannot tell: a command that changes the answer, and never the very same one again."""

import json
import shlex
from pathlib import Path

import msgspec
import pytest

from indexes.conftest import vector_spec
from indexes.lives import GOLD
from lockgate.indexes.advice import after_hold, told_by_looking
from lockgate.indexes.causes import Cause
from lockgate.indexes.check import Check
from lockgate.indexes.drift import Drift, Measured, Spread
from lockgate.indexes.register import Generation
from lockgate.record.verdict import Verdict
from support.calls import Project

PASS, HOLD = Verdict.PASS, Verdict.HOLD
LOOKED = [Check(c, 0.0, 0.0, PASS, "") for c in ("records-equal", "content-equal", "stored-vectors")]


def generation(
    name: str, *, ann: str = "hnsw", dtype: str = "float32", store: str = "pgvector"
) -> Generation:
    spec = vector_spec(ann=ann, dtype=dtype)
    return Generation("help", name, store, "", "sealed", False, spec.spec_hash, spec, "", (), 9, "r", "i", "", "t", "t", "", "")  # fmt: skip


def measured(*checks: Check, causes: tuple[Cause, ...] = (), verdict: Verdict = HOLD) -> Drift:
    figures = Measured(30, 30, 90, 10, 50, 1, 0, None, "lockgate-hashing-1", "d")
    return Drift(
        verdict, "like-for-like", (*LOOKED, *checks), causes, (), figures, Spread((), (), (), (), {})
    )


def search(recall: float, breadth: float = 10) -> tuple[Check, Check]:
    return Check("search-breadth", breadth, 10.0, PASS, ""), Check("ann-recall", recall, 0.98, PASS, "")


DOUBT = Check("documents-lost", 1.0, 1.0, HOLD, "")
BROADER = "lockgate index validate help --against 0001 --generation 0002 --gold 'my gold' --k 5 --breadth"


@pytest.mark.parametrize(
    ("recall", "breadth", "broader"), [(0.99, 10, "160"), (0.99, 160, "640"), (0.99, 640, "1000"), (0.99, 1000, ""), (1.0, 10, "")]
)  # fmt: skip
def test_a_search_that_misses_is_made_broader(recall: float, breadth: float, broader: str):
    """Where an exact search finds more the next call is broader, up to what stores take; where it does not, a broader one is not named."""
    said = after_hold(measured(DOUBT, *search(recall, breadth)), generation("0002"), generation("0001"), "my gold", " --k 5")  # fmt: skip
    assert said == f"{BROADER} {broader}" if broader else "--breadth" not in said
    assert broader or said.endswith("lockgate index swap help --to 0002 --unvalidated")


def test_rounding_is_named_where_the_search_misses_nothing():
    """A copy in sixteen bits whose search misses nothing: build it unrounded, or a person decides."""
    said = after_hold(
        measured(DOUBT, *search(1.0)), generation("0002", dtype="float16"), generation("0001"), "g"
    )
    assert "--dtype float32" in said
    assert "--unvalidated" in said


@pytest.mark.parametrize("one", [generation("0002", ann="flat"), generation("0002", store="chroma")])
def test_a_breadth_that_changes_nothing_is_not_named(one: Generation):
    """Without a graph, or with one whose breadth is fixed, there is no broader search."""
    assert "--breadth" not in after_hold(measured(DOUBT, *search(0.99)), one, generation("0001"), "g")


def test_other_answers_have_no_advice():
    """A pass and a fail name nothing here."""
    for verdict in (PASS, Verdict.FAIL):
        assert after_hold(measured(verdict=verdict), generation("0002"), generation("0001"), "g") == ""


def test_what_was_looked_at_is_not_guessed():
    """Equal contents refute missing documents and wrong vectors; nowhere does a validation send its reader to a validation."""
    guesses = (
        Cause("documents-missing", False, "one"),
        Cause("foreign-vectors", False, "one; lockgate index validate tells"),
        Cause("ann-recall", False, "two"),
    )
    assert [c.cause for c in told_by_looking(measured(causes=guesses)).causes] == ["ann-recall"]
    unequal = msgspec.structs.replace(measured(causes=guesses), checks=())
    assert [c.cause for c in told_by_looking(unequal).causes] == [c.cause for c in guesses]
    assert all("index validate" not in c.evidence for c in told_by_looking(unequal).causes)


@pytest.mark.postgres("18")
def test_a_hold_names_another_command(tmp_path: Path, database: str):
    """With too few queries the validation holds and says what would help; a swap repeats that, and what it names works as printed."""
    project = Project(tmp_path, database)
    few = tmp_path / "few"
    few.mkdir()
    (few / "corpus.jsonl").write_text((GOLD / "corpus.jsonl").read_text())
    queries = (GOLD / "queries.jsonl").read_text().splitlines(keepends=True)[:8]
    (few / "queries.jsonl").write_text("".join(queries))
    kept = {json.loads(q)["_id"] for q in queries}
    head, *rows = (GOLD / "qrels.tsv").read_text().splitlines(keepends=True)
    (few / "qrels.tsv").write_text(head + "".join(r for r in rows if r.split("\t")[0] in kept))
    build = ("index", "build", "help", "--records", str(GOLD / "corpus.jsonl"), "--embedder", "hashing:64")
    project.ok("index", *build)
    project.ok("index", "index", "swap", "help", "--to", "0001")
    project.ok("index", *build, "--dtype", "float16")
    held = project.json("index", "validate", "help", "--against", "0001", "--gold", str(few))
    assert held.code == 5, held
    told = held.document("index-validate")["next"]
    assert "a gold set of at least 20" in told
    refused = project.json("index", "swap", "help", "--to", "0002").error("INDEX_NOT_READY")
    assert refused["next"] == told
    command = told.partition("lockgate ")[2]
    assert project.ok("index", *shlex.split(command))["after"] == "0002"
