"""What a file without a transaction did before its runner was killed belongs to the history once the file is done: never drift."""

import random
import signal
from collections.abc import Callable

import pytest

from faults.drive import Project
from faults.look import execute
from faults.shapes import SHAPES, Shape
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
