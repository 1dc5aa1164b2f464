"""Who may write: old runners that wake up, epochs that are over, histories that were cut (row 41)."""

import signal

import pytest

from faults import invariants, look
from faults.drive import Project
from faults.look import at_the_brake, brake, effects, execute, holding, run_states, session, waiting_for_lock
from faults.relay import Line
from faults.shapes import SHAPES, File, Shape, braked, once, table

SMALL = SHAPES["small"]
TWO = SHAPES["two files"]
_NEWER = "UPDATE lockgate.fence SET epoch = epoch + 1, run_id = 'somebody newer'"
pytestmark = look.SERVERS


@pytest.mark.parametrize("moment", ["file:received", "commit:send"])
def test_an_old_runner_wakes_up(url: str, project: Project, line: Line, moment: str) -> None:
    """A runner that slept while another took over finds its sessions gone and the work done; nothing is applied twice."""
    project.write(*TWO.files)
    old = project.start(url, fault={"kind": "ask", "at": 1, "name": moment, "control": line.path})
    line.wait()
    old.signal(signal.SIGSTOP)
    refused = project.run(url, "--lock-wait", "0.2")
    assert refused.code == 75, "its locks hold while its sessions live"
    for role in ("work", "guard"):
        execute(url, "SELECT pg_terminate_backend(%s)", session(url, role))
    new = project.run(url)
    assert (new.code, len(new.applied)) == (0, 2)
    line.answer()
    old.signal(signal.SIGCONT)
    ended = old.wait()
    assert (ended.code, ended.applied) == (0, []), ended
    invariants.after_rerun(url, TWO, ended)


@pytest.mark.parametrize(
    ("shape", "name", "at"),
    [
        ("two files", "file:send", 1), ("contract", "file:send", 1), ("concurrent", "step:send", 1),
        ("concurrent", "alone:received", 3),
    ],
)  # fmt: skip
def test_the_epoch_is_over(url: str, project: Project, line: Line, shape: str, name: str, at: int) -> None:
    """A runner whose epoch is over may hold every lock: its next write finds no row, is rolled back, and says FENCED."""
    files = SHAPES[shape]
    project.write(*files.files)
    runner = project.start(url, fault={"kind": "ask", "at": at, "name": name, "control": line.path})
    line.wait()
    execute(url, _NEWER)
    line.answer()
    ended = runner.wait()
    assert (ended.code, ended.reason) == (3, "FENCED"), ended
    invariants.after_fault(url, files, ended)
    invariants.after_rerun(url, files, project.run(url))


def test_the_epoch_is_over_between_two_files(url: str, project: Project) -> None:
    """A file that waits for a lock while the epoch ends is rolled back as FENCED; the one before it stays applied."""
    waits = File(
        "1700000000009", "waits", f"ALTER TABLE public.orders ADD COLUMN late text;\n{once('1700000000009')}\n",
        ("SELECT count(*) = 1 FROM public.effects WHERE revision = '1700000000009'",),
    )  # fmt: skip
    shape = Shape("waits", (table(8, "before_it"), waits))
    project.write(*shape.files)
    with holding(url, "LOCK TABLE public.orders IN ACCESS EXCLUSIVE MODE"):
        runner = project.start(url)
        waiting_for_lock(url)
        execute(url, _NEWER)
    ended = runner.wait()
    assert (ended.code, ended.reason, ended.applied) == (3, "FENCED", ["1700000000008"]), ended
    invariants.after_fault(url, shape, ended)
    invariants.after_rerun(url, shape, project.run(url))


def test_the_fence_row_is_gone(url: str, project: Project) -> None:
    """Without its fence row the history cannot be believed: refused as HISTORY_TAMPERED, nothing runs."""
    project.write(*SMALL.files)
    assert project.run(url).code == 0
    project.write(*SMALL.files, table(40, "more"))
    execute(url, "DELETE FROM lockgate.fence")
    refused = project.run(url)
    assert (refused.code, refused.reason) == (4, "HISTORY_TAMPERED")
    assert effects(url) == [SMALL.files[0].revision]


def test_last_rows_of_the_history_were_deleted(url: str, project: Project) -> None:
    """The fence knows the head of the chain, so a history that lost its newest rows is not believed either."""
    project.write(*TWO.files)
    assert project.run(url).code == 0
    execute(url, "ALTER TABLE lockgate.migration_history DISABLE TRIGGER USER")
    execute(url, "DELETE FROM lockgate.migration_history WHERE ordinal = 2")
    refused = project.run(url)
    assert (refused.code, refused.reason) == (4, "HISTORY_TAMPERED")
    assert len(effects(url)) == 2


def test_a_lost_lease_is_judged_by_the_server(url: str, project: Project) -> None:
    """Whether a run is alive is told by its locks in the server, never by comparing times: a future heartbeat frees no one."""
    shape = Shape("braked", (braked(42, "braked"),))
    project.write(*shape.files)
    brake(url)
    first = project.start(url)
    at_the_brake(url)
    execute(url, "UPDATE lockgate.run SET heartbeat_at = '2001-01-01', started_at = '2001-01-01'")
    assert project.run(url, "--lock-wait", "0.2").code == 75
    assert run_states(url) == ["running"]
    first.signal(signal.SIGKILL)
    first.wait()
    look.release_brake(url)
    execute(url, "UPDATE lockgate.run SET heartbeat_at = '2999-01-01'")
    again = project.run(url, "--lock-wait", "15")
    assert "was abandoned" in again.err
    invariants.after_rerun(url, shape, again)
