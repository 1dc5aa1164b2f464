"""The watch: what measurements amount to, and a real Prometheus that answers."""

import json
import sys
from collections.abc import Callable
from time import monotonic

import pytest
from msgspec.structs import replace

from lockgate.config.release import Watch, WatchQuery
from lockgate.errors import Refused
from lockgate.record.verdict import Verdict
from lockgate.release.budget import Budget
from lockgate.release.impact import Impact
from lockgate.release.smoke import fetch
from lockgate.release.watch import ask, baseline_of, look_back, watch_release
from lockgate.release.watch_judge import Baseline, Sample, judge_watch, median_of, window_of
from release.conftest import PROTECTED, SHA
from release.measuring import Measured
from support.calls import Project
from support.processes import until

ERRORS = WatchQuery("errors", max=0.5)
NONE = float("nan")


def watch(query: WatchQuery = ERRORS, **changes) -> Watch:
    return Watch(
        **{
            "prometheus_url": "http://x",
            "queries": {"errors": query},
            "failure_limit": 1,
            "error_limit": 2,
            **changes,
        }
    )


def samples(*values: float | str | None) -> list[Sample]:
    return [
        Sample("t", "errors", error=v) if isinstance(v, str) else Sample("t", "errors", v) for v in values
    ]


CASES = [
    ("fine", watch(), (0.1, 0.2), {}, Verdict.PASS),
    ("one peak in the middle", watch(), (0.1, 0.9, 0.2), {}, Verdict.PASS),
    ("two peaks", watch(), (0.9, 0.1, 0.9, 0.1), {}, Verdict.FAIL),
    ("bad at the end", watch(), (0.1, 0.9), {}, Verdict.FAIL),
    ("nobody answers", watch(), ("refused",) * 3, {}, Verdict.HOLD),
    ("nobody answers for a moment", watch(), ("refused", 0.1, "refused", 0.1), {}, Verdict.PASS),
    ("nobody answers at the end", watch(), (0.1, "refused"), {}, Verdict.HOLD),
    ("no data", watch(), (None, None), {}, Verdict.HOLD),
    ("not a number", watch(), (NONE,), {}, Verdict.HOLD),
    (
        "no data where that is fine",
        watch(WatchQuery("e", max=1.0, on_empty="pass")),
        (None,),
        {},
        Verdict.PASS,
    ),
    ("below its least", watch(WatchQuery("up", min=1.0)), (0.0, 0.0), {}, Verdict.FAIL),
    (
        "within ten per cent",
        watch(WatchQuery("p95", max_increase_percent=10)),
        (1.05,),
        {"errors": 1.0},
        Verdict.PASS,
    ),
    (
        "above ten per cent",
        watch(WatchQuery("p95", max_increase_percent=10)),
        (1.2, 1.2),
        {"errors": 1.0},
        Verdict.FAIL,
    ),
    (
        "no baseline",
        watch(WatchQuery("p95", max_increase_percent=10)),
        (1.2,),
        {"errors": None},
        Verdict.HOLD,
    ),
    ("never looked at", watch(), (), {}, Verdict.HOLD),
]


@pytest.mark.parametrize(
    ("settings", "values", "baseline", "answer"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_verdict(settings: Watch, values: tuple, baseline: dict, answer: Verdict):
    """Pass only what told something and ended well; what cannot tell holds, and is never a pass."""
    verdict = judge_watch(settings, samples(*values), baseline, over=True)
    assert verdict is not None
    assert verdict.answer is answer


def test_over_early():
    """A watch that is lost already does not wait for its end; one that goes well does."""
    assert judge_watch(watch(), samples(0.9), {}, over=False) is None
    assert judge_watch(watch(), samples(0.1), {}, over=False) is None
    early = judge_watch(watch(), samples(0.9, 0.9), {}, over=False)
    assert early is not None
    assert early.answer is Verdict.FAIL


def test_the_length_follows_the_impact():
    """What is configured counts; else 30 minutes in a protected environment, 60 after a plan of high impact, none elsewhere."""
    assert window_of(90.0, True, Impact.HIGH) == window_of(90.0, False, Impact.LOW) == 90.0
    assert [window_of(0.0, True, impact) for impact in Impact] == [1800.0, 1800.0, 1800.0, 3600.0]
    assert [window_of(0.0, False, impact) for impact in Impact] == [0.0] * 4


def test_the_median():
    """A peak does not move the baseline, NaN is no value, and where nothing was measured there is none."""
    assert median_of([0.1, 0.1, 9.0, NONE, 0.2], 60.0) == Baseline(0.15000000000000002, 4, 60.0)
    assert median_of([NONE], 60.0) == Baseline(None, 0, 60.0)


def test_against_prometheus(measured: Measured):
    """A real Prometheus: a quiet watch passes against its baseline, a jump of the measurement fails it, a wrong query cannot tell."""
    settings = measured.watch(
        interval="100ms", failure_limit=0, error_limit=1,
        queries={
            "errors": WatchQuery(measured.gauge, max_increase_percent=50),
            "twice": WatchQuery(f"2 * scalar({measured.gauge})", max_increase_percent=50),
            "absent": WatchQuery("shop_nothing", max=1.0, on_empty="pass"),
        },
    )  # fmt: skip
    taken = baseline_of(settings, lambda: "t", Budget("proof", 60, None))
    baseline = {name: one.value for name, one in taken.items()}
    assert baseline == {"errors": 0.1, "twice": 0.2, "absent": None}
    quiet = watch_release(settings, 0.5, baseline, Budget("watch", 60, None), lambda: "t")
    assert quiet.verdict.answer is Verdict.PASS
    assert len(quiet.samples) >= 2
    measured.set(0.9)
    jumped = watch_release(settings, 30.0, baseline, Budget("watch", 60, None), lambda: "t")
    assert jumped.verdict.answer is Verdict.FAIL
    wrong = measured.watch(interval="50ms", error_limit=1, queries={"errors": WatchQuery("sum(", max=1.0)})
    assert (
        watch_release(wrong, 30.0, {}, Budget("watch", 60, None), lambda: "t").verdict.answer is Verdict.HOLD
    )
    # A watch that could only hold later stops the release before anything is touched, however it looks.
    for window in ("1h", ""):
        with pytest.raises(Refused, match="cannot be asked") as refused:
            baseline_of(replace(wrong, baseline_window=window), lambda: "t", Budget("proof", 60, None))
        assert (refused.value.code, refused.value.exit) == ("WATCH_HELD", 5)
    assert fetch(measured.url + "/-/ready", {}, 5, lambda: "t", monotonic).status == 200


def test_an_idle_series_hides_no_other(measured: Measured):
    """A series that is NaN, because nothing came to divide by, is no value: first or last, now and in the past, the largest of the others counts; where all are NaN there is no data."""
    busy, idle = (
        f'label_replace({text}, "pod", "{pod}", "", "")'
        for text, pod in ((measured.gauge, "a"), (f"0 * {measured.gauge} / 0", "b"))
    )
    for query, value in ((f"{busy} or {idle}", 0.1), (f"{idle} or {busy}", 0.1), (idle, None)):
        settings = measured.watch(
            baseline_window="10s", interval="100ms", queries={"errors": WatchQuery(query, max=0.5)}
        )
        assert ask(settings, "errors", lambda: "t", monotonic).value == value
        assert {s.value for s in look_back(settings, "errors", lambda: "t", monotonic)} == (
            {value} if value else set()
        )
        watched = watch_release(settings, 0.2, {}, Budget("watch", 60, None), lambda: "t")
        assert watched.verdict.answer is (Verdict.PASS if value else Verdict.HOLD)


def test_the_baseline_is_not_one_look(measured: Measured):
    """At the moment of a peak the baseline is what Prometheus saw most of the time before; a single look would take the peak for the usual."""
    settings = measured.watch(
        baseline_window="20s", interval="100ms", queries={"errors": WatchQuery(measured.gauge, max=9)}
    )
    until(lambda: len(look_back(settings, "errors", lambda: "t", monotonic)) >= 30, 60)
    measured.set(5.0)
    until(lambda: measured.seen() == 5.0, 60)
    measured.set(0.1)  # what comes later is quiet again, however slow this machine is
    [found] = baseline_of(settings, lambda: "t", Budget("proof", 60, None)).values()
    assert found.value == 0.1
    assert (found.values >= 30, found.seconds) == (True, 20.0)
    seen = look_back(settings, "errors", lambda: "t", monotonic)
    assert {sample.value for sample in seen} == {0.1, 5.0}
    [single] = baseline_of(
        replace(settings, baseline_window=""), lambda: "t", Budget("proof", 60, None)
    ).values()
    assert (single.values, single.seconds) == (1, 0.0)


@pytest.mark.postgres("18")
@pytest.mark.parametrize(
    ("more", "people", "window"), [("", 1, 1800.0), ("-- lockgate: estimate rows=2000000\n", 2, 3600.0)]
)
def test_the_impact_sets_approvals_and_watch(
    make: Callable[..., Project], measured: Measured, more: str, people: int, window: float
):
    """In a protected environment a plan of high impact wants two approvals and an hour of watching; another one, one and half an hour."""
    project = make(
        PROTECTED
        + "require_backup = false\n"
        + f"[release]\nrollout = {json.dumps([sys.executable, '-c', f'open({str(measured.file)!r}, chr(119)).write(chr(57))'])}\n"
        + f'[watch]\nprometheus_url = "{measured.url}"\ninterval = "50ms"\nfailure_limit = 0\n'
        + f'[watch.queries.errors]\nquery = "{measured.gauge}"\nmax = 1\n'
    )
    project.write("more", more + "CREATE TABLE more (id bigint PRIMARY KEY);\n")
    for number in range(people):
        refused = project.json("release", "--sha", SHA, "--env", "production")
        refused.error("APPROVAL_MISSING")
        project.ok("approve", "approve", "--env", "production", "--actor", f"ann{number}")
    ended = project.json("release", "--sha", SHA, "--env", "production")
    evidence = ended.error("WATCH_FAILED")["details"]
    steps = {step["name"]: step for step in evidence["steps"]}
    assert steps["watch"]["evidence"]["window"] == window
