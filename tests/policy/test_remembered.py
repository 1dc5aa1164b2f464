"""Answers of earlier calls of `check`: never stale, whatever changes, breaks or runs at the same time."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import lockgate
from lockgate.config import Settings
from lockgate.config.policy import Policy
from lockgate.release.remembered import _JUDGES, Memory, folder_of
from lockgate.release.review import Review, review
from support.calls import Project

BODIES = [
    "CREATE TABLE a (id bigint PRIMARY KEY, x integer);\n",
    "CREATE TABLE b (id bigint PRIMARY KEY, a_id bigint REFERENCES a (id));\n",
    "ALTER TABLE a ADD COLUMN y text;\n",
    "ALTER TABLE a DROP COLUMN y;\n",
    "-- lockgate: phase=contract\nALTER TABLE a DROP COLUMN x;\n",
    "CREATE INDEX a_x ON a (x);\n",
    "DROP INDEX a_x;\n",
    '-- lockgate: allow=idx-create-blocking until=2030-06-01 reason="small"\nCREATE INDEX a_y ON a (y);\n',
    "ALTER TABLE a ALTER COLUMN x TYPE bigint;\n",
    "ALTER TABLE a RENAME TO c;\n",
    "ALTER TABLE b ADD CONSTRAINT b_ok CHECK (a_id > 0) NOT VALID;\n",
    "ALTER TABLE b VALIDATE CONSTRAINT b_ok;\n",
    "UPDATE a SET y = x::text;\n",
    "ANALYZE;\n",
    "DO $$ BEGIN RAISE EXCEPTION 'no'; END $$;\n",
    "CREATE DOMAIN d AS integer CHECK (VALUE > 0);\nALTER TABLE a ADD COLUMN z d;\n",
    "DROP TABLE b;\n",
    "not sql at all;\n",
    "BEGIN;\nCOMMIT;\n",
]


def plain(found: Review) -> object:
    """The answer as plain values."""
    return msgspec.to_builtins((found.files, found.findings, found.statements))


class Remembering(RuleBasedStateMachine):
    """A project that is edited in every way, judged with and without memory after each step."""

    folder: Path

    def __init__(self) -> None:
        super().__init__()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.project = Project(self.folder)
        self.memory = Memory(self.folder / "memory")
        self.settings = msgspec.structs.replace(Settings(), root=self.folder)
        self.today = date(2030, 1, 1)
        self.project.write("first", BODIES[0])

    def names(self) -> list[Path]:
        return sorted(self.project.directory.glob("*.sql"))

    @rule(body=st.sampled_from(BODIES))
    def add(self, body: str) -> None:
        self.project.write("more", body)

    @rule(body=st.sampled_from(BODIES), where=st.integers(0, 99))
    def edit(self, body: str, where: int) -> None:
        names = self.names()
        names[where % len(names)].write_text(body)
        self.project.lock()

    @rule(where=st.integers(0, 99))
    def remove(self, where: int) -> None:
        names = self.names()
        if len(names) > 1:
            names[where % len(names)].unlink()
            self.project.lock()

    @rule(one=st.integers(0, 99), other=st.integers(0, 99))
    def swap(self, one: int, other: int) -> None:
        names = self.names()
        first, second = names[one % len(names)], names[other % len(names)]
        before, after = first.read_text(), second.read_text()
        first.write_text(after)
        second.write_text(before)
        self.project.lock()

    @rule(days=st.integers(1, 300))
    def wait(self, days: int) -> None:
        self.today += timedelta(days)

    @rule(profile=st.sampled_from(["default", "early-stage"]), version=st.integers(14, 18))
    def configure(self, profile: str, version: int) -> None:
        policy = Policy(profile=profile, server_version=version, judge_after=self.names()[0].name[:13])
        self.settings = msgspec.structs.replace(self.settings, policy=policy)

    @rule(at=st.integers(0, 10_000), cut=st.booleans())
    def damage(self, at: int, cut: bool) -> None:
        for path in (self.folder / "memory").glob("*"):
            raw = bytearray(path.read_bytes()) or bytearray(b"?")
            raw[at % len(raw)] ^= 1 << at % 8
            path.write_bytes(raw[: at % len(raw)] if cut else raw)

    @invariant()
    def never_stale(self) -> None:
        anew = plain(review(self.settings, today=self.today))
        assert plain(review(self.settings, today=self.today, memory=self.memory)) == anew
        assert plain(review(self.settings, today=self.today, memory=self.memory)) == anew


def test_the_answer_is_never_stale(tmp_path: Path):
    """After any sequence of edits, renames, days, settings and damage, memory and judging anew say the same."""
    from hypothesis.stateful import run_state_machine_as_test

    machine = type("Machine", (Remembering,), {"folder": tmp_path / "project"})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=12,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def ready(tmp_path: Path) -> tuple[Settings, Memory]:
    """A small project and an empty memory."""
    project = Project(tmp_path)
    for body in BODIES[:8]:
        project.write("file", body)
    return msgspec.structs.replace(Settings(), root=tmp_path), Memory(tmp_path / "memory")


def test_a_second_call_judges_nothing(ready: tuple[Settings, Memory], monkeypatch: pytest.MonkeyPatch):
    """What was kept is the answer: the judge is not asked again."""
    import lockgate.release.walk

    settings_, memory = ready
    today = date(2030, 1, 1)
    first = plain(review(settings_, today=today, memory=memory))
    monkeypatch.setattr(lockgate.release.walk, "walk_all", None)
    assert plain(review(settings_, today=today, memory=memory)) == first


def test_many_at_once(ready: tuple[Settings, Memory]):
    """Readers, writers and one who throws files away, at the same time: always the right answer."""
    settings_, memory = ready
    days = [date(2030, 1, 1) + timedelta(n) for n in range(6)]
    right = {day: plain(review(settings_, today=day)) for day in days}

    def call(number: int) -> bool:
        day = days[number % len(days)]
        if number % 7 == 0 and memory.folder.is_dir():
            for entry in os.scandir(memory.folder):
                Path(entry.path).unlink(missing_ok=True)
        return plain(review(settings_, today=day, memory=memory)) == right[day]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, range(120)))


def test_a_folder_that_cannot_be_written_costs_nothing(ready: tuple[Settings, Memory], tmp_path: Path):
    """Where nothing can be kept, the answer is the same."""
    settings_, _ = ready
    (tmp_path / "file").write_text("")
    today = date(2030, 1, 1)
    nowhere = Memory(tmp_path / "file" / "memory")
    assert plain(review(settings_, today=today, memory=nowhere)) == plain(review(settings_, today=today))


def test_only_the_newest_answers_stay(ready: tuple[Settings, Memory]):
    """The folder does not grow for ever, and nothing but answers stays in it; others cannot read them."""
    settings_, memory = ready
    for number in range(30):
        review(settings_, today=date(2030, 1, 1) + timedelta(number), memory=memory)
    kept = list(memory.folder.iterdir())
    assert len(kept) == 24
    assert all(path.stat().st_mode & 0o077 == 0 for path in kept)
    assert memory.folder.stat().st_mode & 0o077 == 0


def test_where_answers_are_kept():
    """The user's cache folder by the XDG rules: a relative or missing one is not taken."""
    assert folder_of({"XDG_CACHE_HOME": "/c", "HOME": "/h"}) == Path("/c/lockgate/check")
    assert folder_of({"XDG_CACHE_HOME": "c", "HOME": "/h"}) == Path("/h/.cache/lockgate/check")
    assert folder_of({}) is None


def test_what_an_answer_depends_on_is_there():
    """Every folder and file of the package whose code is part of the key exists."""
    root = Path(lockgate.__file__).parent
    assert all((root / name).exists() for name in _JUDGES)
