"""What a run writes to, beside the database: stdout, artifacts, process lists (rows 10, 11, 65)."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from faults import invariants, look
from faults.drive import PROGRAM, Project
from faults.look import at_the_brake, brake, effects, history, run_states, value
from faults.shapes import SHAPES, Shape, braked, table
from lockgate.record.artifact import write_atomically
from support.processes import with_word

SMALL = SHAPES["small"]
BRAKED = Shape("braked", (braked(70, "braked"),))
SHA = "0123456789abcdef0123456789abcdef01234567"
pytestmark = look.SERVERS


def _direct(project: Project, url: str, **options: object) -> "subprocess.Popen[bytes]":
    """``lockgate up`` in text format as a shell would start it."""
    more = options.pop("more", {})
    environment = project.environment(url, **more)  # type: ignore[arg-type]
    command = [sys.executable, str(PROGRAM), "up"]
    return subprocess.Popen(command, cwd=project.root, env=environment, **options)  # type: ignore[call-overload, no-any-return]


def _closed_pipe() -> int:
    read, write = os.pipe()
    os.close(read)
    return write


@pytest.mark.parametrize(
    "stdout",
    ["a pipe nobody reads", "a full disk", "closed"],
)
def test_stdout_is_gone(url: str, project: Project, stdout: str) -> None:
    """A reader that went away, a full disk behind stdout or no stdout at all do not disturb the run."""
    project.write(*SHAPES["two files"].files)
    if stdout == "closed":
        command = ["sh", "-c", 'exec "$0" "$@" >&-', sys.executable, str(PROGRAM), "up"]
        code = subprocess.run(command, cwd=project.root, env=project.environment(url), check=False).returncode
    else:
        fd = _closed_pipe() if stdout == "a pipe nobody reads" else os.open("/dev/full", os.O_WRONLY)
        try:
            code = _direct(project, url, stdout=fd).wait(60)
        finally:
            os.close(fd)
    assert code == 0
    assert history(url) == [file.revision for file in SHAPES["two files"].files]
    assert run_states(url) == ["succeeded"]


def test_an_answer_that_does_not_fit_on_the_disk(url: str, project: Project) -> None:
    """A command that only answers fails when its answer cannot be written, and says why; a reader that went away is no failure."""
    project.write(*SHAPES["two files"].files)
    project.run(url)
    command = [sys.executable, str(PROGRAM), "status"]
    for form in ("text", "json"):
        with Path("/dev/full").open("w") as full:
            ended = subprocess.run(
                [*command, "--format", form], cwd=project.root, env=project.environment(url), stdout=full, stderr=subprocess.PIPE, check=False
            )  # fmt: skip
        assert (ended.returncode, b"could not be written to stdout: No space left" in ended.stderr) == (
            3,
            True,
        ), ended
    fd = _closed_pipe()
    try:
        assert (
            subprocess.run(
                command, cwd=project.root, env=project.environment(url), stdout=fd, check=False
            ).returncode
            == 0
        )
    finally:
        os.close(fd)


@pytest.mark.parametrize("locale", ["C", "POSIX", "de_DE.ISO-8859-1"])
def test_a_locale_without_utf8(url: str, project: Project, locale: str) -> None:
    """Names outside ASCII are applied and told under a locale that cannot write them, with no terminal."""
    file = table(71, "umlaute")
    text = (
        file.sql.replace("umlaute", '"übergröße"')
        + 'SELECT 1 AS "größer";\nCOMMENT ON TABLE public."übergröße" IS \'naïve, ok\';\n'
    )
    project.write(file._replace(sql=text))
    child = _direct(
        project, url, more={"LC_ALL": locale, "PYTHONUTF8": "0"}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )  # fmt: skip
    out, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (0, b""), err
    assert b"applied" in out
    assert b"\x1b" not in out, "control codes without a terminal"
    assert value(url, "SELECT obj_description('public.\"übergröße\"'::regclass)") == "naïve, ok"


def test_a_failure_is_told_in_a_locale_without_utf8(url: str, project: Project) -> None:
    """An error message with characters that the locale cannot write still ends with its exit code and reason."""
    file = table(72, "fehler")
    project.write(file._replace(sql='SELECT * FROM public."gibt_es_nicht_ü";\n'))
    child = _direct(
        project, url, more={"LC_ALL": "C", "PYTHONUTF8": "0"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    _, err = child.communicate(timeout=60)
    assert child.returncode == 3
    assert b"MIGRATION_EXECUTION_FAILED" in err


@pytest.mark.parametrize("moment", ["open", "rename", "done"])
@pytest.mark.parametrize("kind", ["raise", "kill"])
def test_killed_while_it_writes_the_artifact(url: str, project: Project, moment: str, kind: str) -> None:
    """The artifact is the old one, the new one or absent, never torn; the database is right, and a second release mends it."""
    project.write(*SMALL.files)
    path = project.root / ".artifacts" / "deploy" / SHA / "migration.json"
    hurt = project.run(
        url,
        "--sha",
        SHA,
        command="release",
        fault={"kind": kind, "at": 1, "name": f"file:migration.json:{moment}"},
    )
    assert hurt.code != 0
    assert path.is_file() == (moment == "done")
    if path.is_file():
        assert json.loads(path.read_text())["status"] == "pass"
    assert history(url) == [SMALL.files[0].revision]
    again = project.run(url, "--sha", SHA, command="release")
    assert again.code == 0, again
    assert json.loads(path.read_text())["status"] == "pass"
    for whole in path.parent.glob("*.json"):
        assert json.loads(whole.read_text())["status"] in ("pass", "fail")
    assert effects(url) == [SMALL.files[0].revision]


def test_no_disk_for_the_artifact(url: str, project: Project, small_disk: Callable[[int], Path]) -> None:
    """A release that cannot write its artifact has failed with ARTIFACT_FAILED, although the database is right."""
    project.write(*SMALL.files)
    disk = small_disk(64 * 1024)
    (project.root / ".artifacts").symlink_to(disk)
    (disk / "deploy" / SHA).mkdir(parents=True)
    state = os.statvfs(disk)
    with (disk / "ballast").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, state.f_bavail * state.f_frsize)
    failed = project.run(url, "--sha", SHA, command="release")
    assert (failed.code, failed.reason) == (3, "ARTIFACT_FAILED")
    assert history(url) == [SMALL.files[0].revision]
    (disk / "ballast").unlink()
    again = project.run(url, "--sha", SHA, command="release")
    assert again.code == 0, again
    assert (disk / "deploy" / SHA / "migration.json").is_file()


def test_a_reader_never_sees_half_an_artifact(folder: Path) -> None:
    """Whoever reads the artifact while it is replaced over and over sees one whole version or the other."""
    path = folder / "migration.json"
    versions = [json.dumps({"text": letter * 100_000}).encode() for letter in "ab"]
    write_atomically(path, versions[0])
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            write_atomically(path, versions[number % 2])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(300):
            assert path.read_bytes() in versions
    finally:
        stop.set()
        writer.join()
    assert [p.name for p in folder.iterdir()] == ["migration.json"]


def test_no_password_in_any_process_list(url: str, project: Project) -> None:
    """While a run is under way its password stands in no command line and in no session's statement."""
    project.write(*BRAKED.files, table(73, "after"))
    brake(url)
    runner = project.start(url)
    at_the_brake(url)
    assert with_word(invariants.CANARY) == []
    assert (
        value(
            url,
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%' || reverse('1174-legovneiranak') || '%'",
        )
        == 0
    )
    runner.signal(signal.SIGTERM)
    invariants.no_canary(url, runner.wait())


def test_a_failed_login_does_not_tell_the_password(project: Project) -> None:
    """An unreachable server is told by host and user, with exit 69 and without the password of the URL."""
    project.write(*SMALL.files)
    refused = project.run(f"postgresql://somebody:{invariants.CANARY}@127.0.0.1:1/nowhere")
    assert (refused.code, refused.reason) == (69, "UNREACHABLE")
    assert invariants.CANARY not in refused.out + refused.err
