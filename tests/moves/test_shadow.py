"""Shadow reads: compared behind the caller's back, never in his way."""

import random
import threading

import pytest

from lockgate.moves.shadow import Observation, Shadow, same, same_rows
from moves.hand import declare, make
from support.calls import Project
from support.tables import run_sql


def test_the_old_answer_at_once():
    """The caller gets the old answer while the new side still works, fails or differs; all three are observed."""
    seen: list[Observation] = []
    gate = threading.Event()

    def slow() -> list[int]:
        gate.wait()
        return [1, 2]

    def broken() -> list[int]:
        raise RuntimeError("password=sesame is wrong")

    with Shadow(seen.append, sample=1.0, budget=1000.0) as shadow:
        assert shadow(lambda: [1, 2], slow, query="slow") == [1, 2]
        assert shadow(lambda: [1, 2], lambda: [1, 3], query="other") == [1, 2]
        assert shadow(lambda: [1, 2], broken, query="broken") == [1, 2]
        assert shadow(lambda: [2, 1], lambda: [1, 2], query="order", compare=same_rows) == [2, 1]
        assert seen == [], "nothing was awaited"
        gate.set()
    assert [(o.query, o.equal) for o in seen] == [
        ("slow", True),
        ("other", False),
        ("broken", None),
        ("order", True),
    ]
    assert seen[1].difference == "old list[2], new list[2], first difference at 1"
    assert "sesame" not in seen[2].error


def test_errors_of_the_old_side_are_the_callers():
    """What the old side raises reaches the caller unchanged, and nothing is observed."""
    seen: list[Observation] = []
    with Shadow(seen.append, sample=1.0) as shadow, pytest.raises(ZeroDivisionError):
        shadow(lambda: 1 // 0, lambda: 1)
    assert seen == []


def test_sampling_budget_and_a_full_queue():
    """Only the sampled share is shadowed; beyond the budget, or when the queue is full, observations are dropped and counted."""
    seen: list[Observation] = []
    with Shadow(seen.append, sample=0.1, budget=1000.0, waiting=10_000, rng=random.Random(3)) as shadow:
        for _ in range(2000):
            shadow(lambda: 1, lambda: 1)
    assert 120 < len(seen) < 280
    now = [0.0]

    def costly() -> int:
        now[0] += 1.0
        return 1

    seen.clear()
    with Shadow(seen.append, sample=1.0, budget=0.05, clock=lambda: now[0], used=lambda: now[0]) as shadow:
        for _ in range(50):
            shadow(lambda: 1, costly)
    assert len(seen) + shadow.dropped == 50
    assert len(seen) <= 3
    gate = threading.Event()
    with Shadow(seen.append, sample=1.0, waiting=2) as shadow:
        for _ in range(10):
            shadow(lambda: 1, gate.wait)
        assert shadow.dropped >= 7
        gate.set()


def test_a_ledger_that_is_down_is_not_noticed():
    """A failing record function is counted; the caller never sees it."""

    def down(_: Observation) -> None:
        raise OSError

    with Shadow(down, sample=1.0) as shadow:
        assert shadow(lambda: 1, lambda: 1) == 1
    assert shadow.failed == 1
    assert not same(1, True)


@pytest.mark.postgres("18")
def test_replayed_queries(tmp_path, database):
    """`move shadow --queries` asks both tables in the same words; a wrong row on the target shows, and the cutover's gate demands what was declared."""
    make(database, 300)
    project = Project(tmp_path, database)
    declare(
        project,
        '[source]\ntable = "item"\n[target]\ntable = "item_new"\ncreate = true\n[gates]\nshadow_reads = 3\n',
    )
    project.ok("move", "move", "run", "items")
    assert "shadow reads: 0 of 3" in project.json("move", "cutover", "items").error("MOVE_STAGE")["message"]
    (tmp_path / "q.sql").write_text(
        "-- ours\nSELECT count(*) FROM item;\nSELECT * FROM item ORDER BY u LIMIT 5\nSELECT v FROM item WHERE a = 3\n"
    )
    done = project.ok("move", "move", "shadow", "items", "--queries", "q.sql")
    assert (done["stage"], done["result"]["equal"]) == ("shadowing", 3)
    run_sql(
        database,
        "BEGIN; SET LOCAL lockgate.feed = 'items'; UPDATE item_new SET v = 'secret!' WHERE u = 3; COMMIT",
    )
    answer = project.json("move", "shadow", "items", "--queries", "q.sql")
    assert answer.code == 1
    assert len(answer.document("move")["result"]["differing"]) >= 1
    assert "secret!" not in answer.out
    (tmp_path / "w.sql").write_text("DELETE FROM item\n")
    assert project.json("move", "shadow", "items", "--queries", "w.sql").code == 0, (
        "both refuse a write in the same words"
    )
    assert run_sql(database, "SELECT count(*) FROM item_new") == [(300,)]
