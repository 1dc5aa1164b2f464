"""Work in a forked copy: its answer is that of the process itself, and its end never harms the run."""

import os
import signal
from datetime import date

import msgspec
import pytest

from lockgate.config import Settings
from lockgate.policy.subject import EARLY_STAGE
from lockgate.release import judged
from lockgate.release.beside import Beside
from lockgate.release.judged import Judged
from lockgate.release.judging import judge_pending
from lockgate.release.project import read_files
from support.calls import Project


def no_child_left() -> bool:
    """True when this process has no child that waits to be reaped."""
    try:
        return os.waitpid(-1, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        return True


def test_the_answer_comes_back() -> None:
    """What the copy computes is what comes back, once, and the copy is reaped."""
    beside = Beside(lambda: {"a": list(range(100_000))}, dict[str, list[int]])
    assert beside.result() == {"a": list(range(100_000))}
    assert beside.result() is None
    assert no_child_left()


def test_a_copy_that_fails_gives_nothing() -> None:
    """An error in the copy, or its violent death, is no answer: None, so that the caller does the work itself."""
    assert Beside(lambda: 1 // 0, int).result() is None

    def die() -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return 1

    assert Beside(die, int).result() is None
    assert no_child_left()


def test_a_copy_that_nobody_waits_for_is_ended() -> None:
    """close ends a copy at work and leaves no process behind; a second close does nothing."""
    beside = Beside(lambda: signal.pause() or 1, int)
    beside.close()
    beside.close()
    assert beside.result() is None
    assert no_child_left()


def test_a_verdict_survives_the_way() -> None:
    """The policy's answer is the same after its way through the pipe, and the profile's name is that of the policy."""
    settings = Settings()
    project = [
        ("a", "CREATE TABLE a (id bigint PRIMARY KEY);"),
        ("b", "DROP TABLE a;"),
        ("c", "CREATE INDEX i ON zz (x);"),
    ]
    from lockgate.migrations.files import Migration

    migrations = tuple(
        Migration(f"17000000000{n:02d}", name, f"17000000000{n:02d}_{name}.sql", "", text)
        for n, (name, text) in enumerate(project)
    )
    wanted = frozenset(m.revision for m in migrations)

    def ask() -> Judged:
        return judge_pending(
            migrations, wanted, settings, server=18, configured=True, fresh=False, today=date(2030, 1, 1)
        )

    here = ask()
    assert here.blocking
    assert Beside(ask, Judged).result() == here
    assert judged._EARLY_STAGE == EARLY_STAGE
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(here), type=Judged) == here


@pytest.mark.postgres("18")
@pytest.mark.parametrize("files", [20, 240])
def test_one_bad_file_among_many(tmp_path, database: str, files: int) -> None:
    """Among few files and among many, one that the policy refuses holds all of them back: exit 4, nothing applied."""
    project = Project(tmp_path, database)
    for n in range(files):
        project.write(f"t{n}", f"CREATE TABLE t{n} (id bigint PRIMARY KEY);\n")
    assert not read_files(Settings(root=tmp_path)).problems
    project.write("bad", "-- lockgate: phase=expand\nALTER TABLE t0 RENAME TO t_zero;\n")
    answer = project.json("up")
    assert answer.code == 4, answer
    answer.error("POLICY_REFUSED")
    assert project.ok("status", "status")["applied"] == []
