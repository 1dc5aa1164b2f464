"""Time limits, and clocks that lie (rows 40 and 78)."""

import datetime
import random
import time
from collections.abc import Callable

import pytest

from faults import invariants, look
from faults.drive import Project
from faults.look import brake, effects, execute, history, value
from faults.shapes import SHAPES, File, Shape, braked, table
from lockgate.config import load
from lockgate.errors import RunFailed
from lockgate.migrations.limits import Limits
from lockgate.migrations.progress import Event, Log
from lockgate.postgres.alarm import Alarm
from lockgate.postgres.target import Target
from lockgate.release.operator import new_identity
from lockgate.release.project import read_files
from lockgate.release.report import RunReport
from lockgate.release.up import Run

TWO = SHAPES["two files"]
CONCURRENT = SHAPES["concurrent"]
pytestmark = look.SERVERS


def _slow(number: int, header: str = "") -> Shape:
    file = braked(number, f"slow_{number}")
    return Shape(
        "slow",
        (table(number + 1, "early")._replace(revision="1700000000000"), file._replace(sql=header + file.sql)),
    )


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ({"statement_timeout": "300ms"}, "STATEMENT_TIMEOUT"),
        ({"file_timeout": "400ms"}, "FILE_TIMEOUT"),
        ({"run_timeout": "1s"}, "RUN_TIMEOUT"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_three_time_limits(url: str, project: Project, limit: dict[str, str], reason: str) -> None:
    """Statement, file and run each have a limit and a reason code of their own; the file is rolled back in each case."""
    shape = _slow(10)
    project.configure(**limit)
    project.write(*shape.files)
    brake(url)
    ended = project.run(url)
    assert (ended.code, ended.reason) == (3, reason), ended
    assert (history(url), effects(url)) == ([shape.files[0].revision], ["1700000000011"])
    assert value(url, "SELECT reason_code FROM lockgate.run") == reason
    look.release_brake(url)
    project.configure()
    assert project.run(url).code == 0
    assert history(url) == [file.revision for file in shape.files]


def test_a_limit_of_one_file(url: str, project: Project) -> None:
    """A directive gives one file a statement limit of its own; the server is asked, and the next file has the old one."""
    asked = "INSERT INTO public.seen SELECT '{0}', current_setting('lock_timeout'), current_setting('statement_timeout');"
    files = [
        File(f"170000000002{n}", f"asks_{n}", header + asked.format(n) + "\n", ())
        for n, header in enumerate(["", "-- lockgate: lock_timeout=7s statement_timeout=8s\n", ""])
    ]
    execute(url, "CREATE TABLE public.seen (number text, lock text, statement text)")
    project.configure(lock_timeout="2s", statement_timeout="20s")
    project.write(*files)
    assert project.run(url).code == 0
    assert execute(url, "SELECT * FROM public.seen ORDER BY 1") == [
        ("0", "2s", "20s"),
        ("1", "7s", "8s"),
        ("2", "2s", "20s"),
    ]


def test_the_run_limit_of_the_environment(url: str, project: Project) -> None:
    """MIGRATION_TIMEOUT_SECONDS bounds the whole run: what was applied before stays, and a rerun goes on from there."""
    shape = Shape("two", (table(30, "before"), braked(31, "braked")))
    project.write(*shape.files)
    brake(url)
    started = time.monotonic()
    ended = project.run(url, environment={"MIGRATION_TIMEOUT_SECONDS": "1"})
    assert time.monotonic() - started < 10
    assert (ended.code, ended.reason) == (3, "RUN_TIMEOUT"), ended
    assert ended.applied == [shape.files[0].revision]
    invariants.after_fault(url, shape, ended)
    look.release_brake(url)
    invariants.after_rerun(url, shape, project.run(url))


def test_the_run_limit_ends_an_index_build(url: str, project: Project) -> None:
    """The run's limit also ends a statement that no transaction holds; the next run clears what is left and finishes."""
    project.write(*CONCURRENT.files)
    with look.holding(url, "INSERT INTO public.orders VALUES (1000, 1)"):
        ended = project.run(url, environment={"MIGRATION_TIMEOUT_SECONDS": "1"})
    assert (ended.code, ended.reason) == (3, "RUN_TIMEOUT"), ended
    invariants.after_fault(url, CONCURRENT, ended)
    assert invariants.invalid_indexes(url) == ["orders_customer"]
    invariants.after_rerun(url, CONCURRENT, project.run(url))


@pytest.mark.parametrize("skew", ["86400", "-86400", "back"])
def test_the_runner_has_a_wrong_clock(url: str, project: Project, skew: str) -> None:
    """A clock that is a day off, or that runs backwards, changes neither order nor times nor durations of the history."""
    project.write(*TWO.files)
    before = value(url, "SELECT clock_timestamp()")
    ended = project.run(url, environment={"FAULT_SKEW": skew})
    after = value(url, "SELECT clock_timestamp()")
    rows = execute(
        url,
        "SELECT revision_id, ordinal, started_at, applied_at, duration_ms FROM lockgate.migration_history ORDER BY ordinal",
    )
    assert [row[0] for row in rows] == [file.revision for file in TWO.files]
    assert [row[1] for row in rows] == [1, 2]
    for _, _, started, applied, duration in rows:
        assert before <= started <= applied <= after  # type: ignore[operator]
        assert 0 <= duration <= (after - before) / datetime.timedelta(milliseconds=1)  # type: ignore[operator]
    run = execute(url, "SELECT started_at, finished_at FROM lockgate.run")[0]
    assert before <= run[0] <= run[1] <= after  # type: ignore[operator]
    assert 0 <= ended.document["elapsedSeconds"] < 30
    assert all(0 <= file["durationMs"] < 30_000 for file in ended.document["applied"])
    invariants.after_rerun(url, TWO, ended)


def _up(url: str, project: Project, clock: Callable[[], float], log: Log) -> RunReport:
    """``up`` in this process, with a clock of the test's own."""
    settings = load(project.root / "lockgate.toml", {})
    limits = Limits.of(settings.migrations, clock=clock, rng=random.Random(7))
    with Alarm() as alarm:
        return Run(
            Target(url, source="test"), read_files(settings), settings, limits, new_identity("up"), log, alarm
        ).up()


def test_durations_and_limits_use_the_clock_handed_in(url: str, project: Project) -> None:
    """Limits and durations are those of the monotonic clock that is handed in: when it says two hours, it is RUN_TIMEOUT."""
    project.write(*TWO.files)
    calm = _up(url, project, lambda: time.monotonic() + 1e9, Log())
    assert (calm.status, 0 <= calm.elapsed_seconds < 30) == ("pass", True)
    project.write(*TWO.files, table(41, "late"))
    ahead = [0.0]

    def jump(event: Event) -> None:
        if event.status == "applying":
            ahead[0] = 7200.0

    with pytest.raises(RunFailed) as caught:
        _up(url, project, lambda: time.monotonic() + ahead[0], Log(jump))
    assert caught.value.code == "RUN_TIMEOUT"
    assert len(effects(url)) == 2


def test_order_is_the_ordinal(url: str, project: Project) -> None:
    """Rows whose times run backwards, as after a change of the server's clock, keep their order, and new ones follow."""
    project.write(*TWO.files)
    assert project.run(url).code == 0
    backwards = "started_at = started_at - ordinal * interval '1 day', applied_at = applied_at - ordinal * interval '1 day'"
    execute(
        url,
        f"ALTER TABLE lockgate.migration_history DISABLE TRIGGER USER; UPDATE lockgate.migration_history SET {backwards};"
        " ALTER TABLE lockgate.migration_history ENABLE TRIGGER USER",
    )
    assert project.run(url).reason == "HISTORY_TAMPERED"
    mended = project.run(
        url, "--accept-chain", "--actor", "somebody", "--reason", "the clock", command="repair"
    )
    assert mended.code == 0, mended
    shape = Shape("three", (*TWO.files, table(43, "third")))
    project.write(*shape.files)
    invariants.after_rerun(url, shape, project.run(url))
