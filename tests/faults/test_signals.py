"""SIGTERM and its kin stop a run cleanly; started twice, it works once (rows 9, 12, 13)."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from faults import invariants, look
from faults.drive import Project
from faults.look import at_the_brake, brake, execute, holding, run_states, session, value
from faults.relay import Relay
from faults.shapes import SHAPES, Shape, braked
from support.processes import until

CONCURRENT = SHAPES["concurrent"]
BRAKED = Shape("braked", (braked(70, "braked"),))
pytestmark = look.SERVERS


def test_a_signal_while_an_index_is_built(url: str, project: Project) -> None:
    """SIGTERM cancels an index build too; what it leaves is named in the journal and cleared by the next run."""
    project.write(*CONCURRENT.files)
    with holding(url, "INSERT INTO public.orders VALUES (1000, 1)"):
        runner = project.start(url)
        look.waiting_for_lock(url)
        runner.signal(signal.SIGTERM)
        ended = runner.wait(10)
    assert (ended.code, ended.reason) == (143, "CANCELLED"), ended
    assert run_states(url) == ["cancelled"]
    invariants.after_fault(url, CONCURRENT, ended)
    invariants.after_rerun(url, CONCURRENT, project.run(url))


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 143)]
)
def test_a_signal_stops_it_cleanly(url: str, project: Project, number: signal.Signals, code: int) -> None:
    """SIGTERM in the middle of a statement cancels it, rolls back, records the run as cancelled and exits 143."""
    project.write(*BRAKED.files)
    brake(url)
    runner = project.start(url)
    at_the_brake(url)
    runner.signal(number)
    ended = runner.wait(10)
    assert (ended.code, ended.reason) == (code, "CANCELLED")
    assert execute(url, "SELECT state, reason_code FROM lockgate.run") == [("cancelled", "CANCELLED")]
    invariants.after_fault(url, BRAKED, ended)
    look.release_brake(url)
    invariants.after_rerun(url, BRAKED, project.run(url))


def test_a_second_signal_ends_it_at_once(fresh: Callable[[], str], project: Project, relay: Relay) -> None:
    """When the server does not answer the cancel, a second SIGTERM ends the process without waiting any longer."""
    project.write(*BRAKED.files)
    url = fresh()
    brake(url)
    runner = project.start(relay.url(url.rsplit("/", 1)[1]))
    at_the_brake(url)
    relay.freeze(newcomers=True)
    runner.signal(signal.SIGTERM)
    until(lambda: _asleep_in_kernel(runner.pid))
    runner.signal(signal.SIGTERM)
    ended = runner.wait(3)
    assert ended.code in (143, -signal.SIGTERM)
    relay.thaw()
    relay.cut()
    invariants.after_fault(url, BRAKED, ended._replace(code=-signal.SIGTERM))
    look.release_brake(url)
    invariants.after_rerun(url, BRAKED, project.run(url))


def _asleep_in_kernel(pid: int) -> bool:
    """Whether the first signal was taken: it is no longer pending."""
    pending = next(
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("ShdPnd")
    )
    return not int(pending.split()[1], 16) & 1 << (signal.SIGTERM - 1)


def test_a_signal_while_it_waits_for_the_lock(url: str, project: Project) -> None:
    """SIGTERM ends the wait for another runner's lock at once; the other runner is not disturbed."""
    project.write(*BRAKED.files)
    brake(url)
    first = project.start(url)
    at_the_brake(url)
    second = project.start(url)
    until(lambda: "waiting" in second.said())
    second.signal(signal.SIGTERM)
    assert second.wait(5).code == 143
    look.release_brake(url)
    execute(
        url,
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()",
    )
    assert first.wait().reason == "MIGRATION_EXECUTION_FAILED"
    invariants.after_rerun(url, BRAKED, project.run(url))


def test_started_twice(url: str, project: Project) -> None:
    """Two starts at the same moment: one applies, the other waits and finds nothing left to do; both exit 0."""
    shape = SHAPES["two files"]
    project.write(*shape.files)
    runners = [project.start(url), project.start(url)]
    ended = [runner.wait() for runner in runners]
    assert [one.code for one in ended] == [0, 0]
    applied = sorted(revision for one in ended for revision in one.applied)
    assert applied == [file.revision for file in shape.files]
    invariants.after_rerun(url, shape, project.run(url))


def test_the_holder_lives_on(url: str, project: Project) -> None:
    """A runner whose caller gave up is left alone: the second one names it, exits 75, and never ends its sessions."""
    project.write(*BRAKED.files)
    brake(url)
    first = project.start(url)
    work = at_the_brake(url)
    refused = project.run(url, "--lock-wait", "0.3")
    assert (refused.code, refused.reason) == (75, "LOCK_BUSY")
    guard = session(url, "guard")
    run_id = value(url, "SELECT run_id FROM lockgate.run")
    assert f"pid {guard}" in refused.err
    assert f"lockgate/guard {str(run_id)[:8]}" in refused.err
    assert refused.document["details"]["holder"]["pid"] == str(guard)
    assert session(url, "work") == work
    first.signal(signal.SIGTERM)
    first.wait()
    look.release_brake(url)
    invariants.after_rerun(url, BRAKED, project.run(url))
