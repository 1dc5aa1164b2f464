"""What a file without a transaction did before its runner was killed belongs to the history once the file is done: never drift."""

import json
import random
import signal
from collections.abc import Callable

import pytest

from faults.drive import Project
from faults.look import at_the_brake, brake, execute, release_brake
from faults.shapes import SHAPES, File, Shape, braked, table
from lockgate.migrations import drift
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from lockgate.record.verdict import Verdict

SMALL = SHAPES["small"].files
SEED, SAMPLE = 20261127, 5


def compared(url: str) -> drift.Drift:
    """The live schema against the recorded one."""
    wire = Wire(Target(url, source="test"), "checker")
    try:
        return drift.compare(wire)
    finally:
        wire.close()


def prepared(project: Project, url: str) -> None:
    """A database with a whole run behind it: its schema is recorded."""
    project.write(*SMALL)
    assert project.run(url).code == 0
    assert compared(url).verdict is Verdict.PASS


def killed_and_resumed(project: Project, fresh: Callable[[], str], shape: Shape, number: int) -> None:
    """Kill a run of ``shape`` at its point ``number`` and call it again: the schema is the history's own, and a hand-made change is not."""
    url = fresh()
    prepared(project, url)
    project.write(*SMALL, *shape.files)
    assert project.run(url, fault={"kind": "kill", "at": number}).code == -signal.SIGKILL
    assert compared(url).verdict is not Verdict.FAIL, f"point {number}: before it is resumed"
    execute(url, "CREATE INDEX by_hand ON public.orders (note)")
    assert project.run(url).code == 0
    seen = compared(url)
    assert [str(change) for change in seen.changes] in ([], ["added: index public.by_hand"]), (
        f"point {number}"
    )
    execute(url, "DROP INDEX public.by_hand")


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize(
    "shape", [SHAPES["concurrent"], SHAPES["rebuild and detach"]], ids=lambda s: s.name.replace(" ", "-")
)
@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_a_killed_file_leaves_no_drift(
    project: Project, fresh: Callable[[], str], shape: Shape, every: bool
) -> None:
    """Killed with -9 at any point and called again, an interrupted concurrent file leaves the schema that the history records."""
    url = fresh()
    prepared(project, url)
    project.write(*SMALL, *shape.files)
    total = len(project.points(url))
    chosen = (
        range(1, total + 1)
        if every
        else sorted(random.Random(SEED).sample(range(total // 3, total + 1), SAMPLE))
    )
    for number in chosen:
        killed_and_resumed(project, fresh, shape, number)


HAND = ["added: column public.seed.hand", "added: column public.other.x", "added: table public.other"]
AGAIN = ["added: column public.seed.sneaky", "added: index public.seed_text"]


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_makes_no_drift_the_history_s_own(
    project: Project, fresh: Callable[[], str], number: int
) -> None:
    """What somebody changed before a run that was stopped between two files, and behind it before the next, stays drift through both."""
    url = fresh()
    files = (table(70, "seed"), table(80, "one"), braked(81, "two"))
    project.write(files[0])
    assert project.run(url).code == 0
    execute(url, "ALTER TABLE public.seed ADD COLUMN hand int")
    execute(url, "CREATE TABLE public.other (x int)")
    assert [str(change) for change in compared(url).changes] == sorted(
        HAND, key=lambda told: told.split()[1:]
    )
    project.write(*files)
    brake(url)
    runner = project.start(url)
    at_the_brake(url)
    runner.signal(number)
    runner.wait(20)
    release_brake(url)
    execute(url, "ALTER TABLE public.seed ADD COLUMN sneaky int")
    execute(url, "CREATE INDEX seed_text ON public.seed (text)")
    told = project.run(url)
    assert told.code == 0
    assert "SCHEMA_DRIFT" in json.dumps(told.document)
    seen = compared(url)
    assert (seen.verdict, {str(change) for change in seen.changes} - set(AGAIN)) == (Verdict.FAIL, set(HAND))
    assert "added: column public.seed.sneaky" in [str(change) for change in seen.changes]


def test_partitions_are_no_strangers(project: Project, fresh: Callable[[], str]) -> None:
    """What a file does to a partitioned table is done to its partitions, and is no drift when the run is killed behind it."""
    url = fresh()
    parted = File("1700000000070", "parted", "CREATE TABLE public.parent (id int) PARTITION BY RANGE (id);\nCREATE TABLE public.part1 PARTITION OF public.parent FOR VALUES FROM (0) TO (9);\n", ())  # fmt: skip
    wider = File("1700000000071", "wider", "ALTER TABLE public.parent ADD COLUMN three int;\n", ())
    project.write(parted)
    assert project.run(url).code == 0
    project.write(parted, wider, braked(81, "two"))
    brake(url)
    runner = project.start(url)
    at_the_brake(url)
    runner.signal(signal.SIGKILL)
    runner.wait(20)
    release_brake(url)
    assert project.run(url).code == 0
    assert compared(url).verdict is Verdict.PASS
