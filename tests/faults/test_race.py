"""Many runners at once, and death among them (rows 31 and 32)."""

import random
from collections.abc import Callable

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faults import invariants, look
from faults.drive import Ended, Project, Running
from faults.look import effects, history, run_states
from faults.shapes import SHAPES, Shape, table
from lockgate.migrations.history import read_history
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire

RUNNERS = 10
MIXED = Shape(
    "mixed",
    (table(50, "one"), *SHAPES["concurrent"].files, table(51, "two")._replace(revision="1700000000051")),
)
FAULTS = st.one_of(
    st.none(),
    st.fixed_dictionaries({"kind": st.sampled_from(["kill", "raise", "term"]), "at": st.integers(1, 110)}),
)
DEATHS = st.lists(FAULTS, min_size=RUNNERS, max_size=RUNNERS)
_FIXTURES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
pytestmark = look.SERVERS


def _ordered() -> Shape:
    """The mixed files in the order of their revisions."""
    return MIXED._replace(files=tuple(sorted(MIXED.files)))


def test_ten_runners_on_an_empty_database(url: str, project: Project) -> None:
    """Ten first runs at once, with no schema of lockgate yet: all exit 0, and each file is applied by exactly one."""
    shape = _ordered()
    project.write(*shape.files)
    ended = [runner.wait() for runner in [project.start(url) for _ in range(RUNNERS)]]
    assert [one.code for one in ended] == [0] * RUNNERS, next(one for one in ended if one.code)
    _once_each(ended, shape)
    invariants.after_rerun(url, shape, project.run(url))


def _race(url: str, project: Project, faults: list[dict[str, object] | None]) -> None:
    shape = _ordered()
    project.write(*shape.files)
    ended = [runner.wait() for runner in [project.start(url, fault=fault) for fault in faults]]
    for one, fault in zip(ended, faults, strict=True):
        assert one.code == 0 or fault is not None, one
        invariants.after_fault_of_one(shape, one)
    _once_each(ended, shape)
    last = project.run(url)
    invariants.after_rerun(url, shape, last)
    assert effects(url) == sorted(file.revision for file in shape.files)
    assert set(run_states(url)) <= {"succeeded", "failed", "cancelled", "abandoned"}


def _once_each(ended: list[Ended], shape: Shape) -> None:
    applied = [revision for one in ended for revision in one.applied]
    assert len(applied) == len(set(applied)), f"I4: two runners say that they applied one file: {applied}"
    assert set(applied) <= {file.revision for file in shape.files}


@settings(max_examples=4, deadline=None, derandomize=True, database=None, suppress_health_check=_FIXTURES)
@given(faults=DEATHS)
def test_ten_runners_and_random_deaths(
    fresh: Callable[[], str], project: Project, faults: list[dict[str, object] | None]
) -> None:
    """Whoever of ten runners dies, and wherever, each effect is there exactly once after the next run."""
    _race(fresh(), project, faults)


@pytest.mark.soak
@settings(max_examples=150, deadline=None, database=None, suppress_health_check=_FIXTURES)
@given(faults=DEATHS)
def test_ten_runners_and_many_random_deaths(
    fresh: Callable[[], str], project: Project, faults: list[dict[str, object] | None]
) -> None:
    """The same for many more choices of who dies where."""
    _race(fresh(), project, faults)


def _nemesis(url: str, runners: list[Running], rng: random.Random) -> int:
    """End sessions of the runners at random until all runners have ended; how many were ended."""
    hits = 0
    with psycopg.connect(url, autocommit=True) as connection:
        while any(runner.alive for runner in runners):
            rows = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'lockgate/%'"
            ).fetchall()
            if rows and hits < 40 and rng.random() < 0.3:
                connection.execute("SELECT pg_terminate_backend(%s)", rng.choice(rows))
                hits += 1
    return hits


@pytest.mark.parametrize("seed", [1, 2, *(pytest.param(n, marks=pytest.mark.soak) for n in range(3, 60))])
def test_ten_runners_whose_sessions_are_ended(url: str, project: Project, seed: int) -> None:
    """While somebody ends work and guard sessions at random, ten runners still bring about each effect exactly once."""
    shape = _ordered()
    project.write(*shape.files)
    runners = [project.start(url, "--lock-wait", "10") for _ in range(RUNNERS)]
    assert _nemesis(url, runners, random.Random(seed))
    ended = [runner.wait() for runner in runners]
    for one in ended:
        invariants.after_fault_of_one(shape, one)
    _once_each(ended, shape)
    invariants.after_rerun(url, shape, project.run(url))


def test_the_same_files_from_two_checkouts(url: str, project: Project) -> None:
    """A runner that waited while another applied a newer checkout refuses to go on with its older files: HISTORY_AHEAD."""
    older, newer = (table(52, "older"),), (table(52, "older"), table(53, "newer"))
    project.write(*newer)
    assert project.run(url).code == 0
    project.write(*older)
    refused = project.run(url)
    assert (refused.code, refused.reason) == (4, "HISTORY_AHEAD")
    assert history(url) == [file.revision for file in newer]


def test_a_reader_during_a_run(url: str, project: Project) -> None:
    """Whoever reads the history while a run commits sees rows and fence of one moment, and never cries tampering."""
    shape = Shape("many", tuple(table(number, f"many_{number}") for number in range(200, 280)))
    files = tuple(file._replace(revision=f"1700000{number:06d}") for number, file in enumerate(shape.files))
    project.write(*files)
    reader = Wire(Target(url, source="test"), "reader")
    try:
        runner = project.start(url)
        seen = set()
        while runner.alive:
            if reader.value("SELECT to_regclass('lockgate.fence') IS NOT NULL") == "t":
                read = read_history(reader)
                assert read.broken == ""
                seen.add(len(read.rows))
        assert runner.wait().code == 0
    finally:
        reader.close()
    assert len(seen) > 5, "the run was over before anybody looked"
