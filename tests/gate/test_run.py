"""`lockgate run -- CMD`: gate, then CMD with its own signals, exit code and process id, and a heartbeat that dies with it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gate.contracts import R, ask, write_contract
from support.calls import COMMAND
from support.processes import lives, parent, until, with_word

pytestmark = pytest.mark.postgres("18")

_LIVE = "SELECT instance_id, service, release_id, schema_min, schema_max FROM lockgate.instance"


@pytest.fixture
def run(applied):
    """Start `lockgate run` with these words, as a process."""

    def start(*words, low=1, high=3, options=(), **environ):
        path = write_contract(applied.root, low, high)
        processes.append(applied.start("run", "--contract", path, *options, "--", *words, **environ))
        return processes[-1]

    applied.cold = True  # what is found by its command line has one of its own
    processes = []
    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("code", [0, 7, 255])
def test_the_exit_code_is_that_of_the_command(run, code):
    """CMD's exit code and output come through as they are."""
    process = run("sh", "-c", f"echo out; echo err >&2; exit {code}")
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (code, "out\n", "err\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGUSR1])
def test_signals_reach_the_command(run, number):
    """CMD has the process id of run, so a signal ends it as it would without run."""
    process = run(
        sys.executable, "-c", "import os, sys, time; print(os.getpid(), flush=True); time.sleep(60)"
    )
    assert int(process.stdout.readline()) == process.pid
    process.send_signal(number)
    # Python turns SIGINT into KeyboardInterrupt and then dies of it.
    assert process.wait(30) == -number
    process.communicate()


def test_the_command_inherits_what_a_shell_gives(run):
    """No signal is ignored or blocked that was not before, no descriptor is left open, no child is there to reap."""
    out, _ = run("cat", "/proc/self/status").communicate(timeout=30)
    # What started these tests may ignore some already (one of libc's own, which no program can reset).
    bare = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True, check=True).stdout
    for field in ("SigIgn", "SigBlk"):
        assert _field(out, field) == _field(bare, field), field
    out, _ = run("ls", "/proc/self/fd").communicate(timeout=30)
    assert set(out.split()) <= {"0", "1", "2", "3"}, "3 is the folder that ls itself reads"
    look = "import os; print(open(f'/proc/self/task/{os.getpid()}/children').read().split())"
    out, _ = run(sys.executable, "-c", look).communicate(timeout=30)
    assert out == "[]\n"


def _field(status: str, name: str) -> int:
    return int(dict(line.split(":", 1) for line in status.splitlines())[name], 16)


def test_it_registers_and_signs_off(run, database):
    """While CMD runs its instance stands in the table with its window; when CMD has ended it is gone."""
    process = run("sh", "-c", "echo up; exec sleep 60", options=("--interval", "1", "--service", "shop"))
    process.stdout.readline()
    ((_, *rest),) = ask(database, _LIVE)
    assert rest == ["shop", "r1", R[1], R[3]]
    first = ask(database, "SELECT heartbeat_at FROM lockgate.instance")
    until(lambda: ask(database, "SELECT heartbeat_at FROM lockgate.instance") > first)
    process.kill()
    process.communicate()
    until(lambda: ask(database, _LIVE) == [])


def test_the_heartbeat_is_no_child_and_ends_with_the_command(run, database, applied):
    """The heartbeat process is not the command's child, holds none of its pipes, and ends when the command is killed."""
    process = run("sh", "-c", "echo up; exec sleep 60")
    process.stdout.readline()
    mine = [pid for pid in with_word(str(applied.root)) if pid != process.pid]
    assert len(mine) == 1
    assert parent(mine[0]) != process.pid
    process.kill()
    process.communicate(timeout=10)  # the end of the pipes: nobody else holds them
    until(lambda: not lives(mine[0]))


_FIRST = """
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))
print("process", os.getpid(), flush=True)
signal.pause()
"""


def test_as_process_1_of_a_container(applied, database):
    """In a process namespace of its own CMD is process 1, SIGTERM reaches it, its exit code comes out, and its heartbeat goes on meanwhile."""
    unshare = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    try:
        allowed = subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip("no process namespace can be made here")
    words = (
        *COMMAND,
        "run",
        "--contract",
        write_contract(applied.root),
        "--interval",
        "1",
        "--",
        sys.executable,
        "-c",
        _FIRST,
    )
    container = subprocess.Popen(
        [*unshare, *words],
        cwd=applied.root,
        env={**os.environ, **applied.environ},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert container.stdout.readline() == "process 1\n"
        first = ask(database, "SELECT heartbeat_at FROM lockgate.instance")
        until(lambda: ask(database, "SELECT heartbeat_at FROM lockgate.instance") > first)
        (inside,) = children(container.pid)
        os.kill(inside, signal.SIGTERM)
        assert container.wait(30) == 9
    finally:
        container.kill()
        container.communicate()


def children(pid):
    """The process ids of the children of a process."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_closed_gate_starts_nothing(run, tmp_path, database):
    """Not ready in time: CMD is not started, exit code and document are those of gate, nothing stays registered."""
    mark = tmp_path / "started"
    process = run("touch", str(mark), low=5, high=6, options=("--timeout", "0.3", "--format", "json"))
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, json.loads(out)["answer"]) == (1, "BEHIND")
    assert not mark.exists()
    assert ask(database, _LIVE) == []
    assert ask(database, "SELECT service, outcome, reason, attempts FROM lockgate.gate_attempt") == [
        ("touch", "refused", "BEHIND", 1)
    ]


def test_unreachable_is_69(run, tmp_path):
    """No database: 69 after the time is over, and CMD is not started."""
    mark = tmp_path / "started"
    process = run(
        "touch", str(mark), options=("--timeout", "0.3"), DATABASE_URL="postgresql://u@127.0.0.1:1/none"
    )
    assert process.wait(30) == 69
    assert not mark.exists()
    process.communicate()


def test_it_waits_for_the_schema(project, database):
    """Started before the migrations, run waits and then starts the command: no order of start is wrong."""
    process = project.start(
        "run", "--contract", write_contract(project.root), "--timeout", "60", "--", "echo", "served"
    )
    assert "BEHIND" in process.stderr.readline()
    assert project.run("up").code == 0
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "served\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_while_waiting(project, number, code):
    """While the gate is closed a signal ends run with the shell's code for it, so a container stops at once."""
    process = project.start(
        "run", "--contract", write_contract(project.root), "--timeout", "600", "--", "true"
    )
    assert "BEHIND" in process.stderr.readline()
    process.send_signal(number)
    assert process.wait(20) == code
    process.communicate()


def test_a_command_that_is_none(applied):
    """No command, or one that is not there: exit 2 before anything is asked."""
    options = ("run", "--format", "json", "--contract", write_contract(applied.root))
    broken = applied.root / "text"
    broken.write_text("text")
    for words in ((), ("--", "no-such-command-here"), ("--", str(broken))):
        assert applied.run(*options, *words).error("USAGE")["exitCode"] == 2
    broken.chmod(0o755)
    broken.write_bytes(b"\x00\x01")
    assert applied.run(*options, "--", str(broken)).error("USAGE")["exitCode"] == 2


def test_it_can_be_stopped_by_a_mismatch(run, database):
    """With --stop-on-mismatch the command gets SIGTERM when the schema leaves its window."""
    process = run("sh", "-c", "echo up; exec sleep 60", options=("--interval", "1", "--stop-on-mismatch"))
    process.stdout.readline()
    ask(database, "UPDATE lockgate.fence SET compat_floor = %s", R[9])
    assert process.wait(30) == -signal.SIGTERM
    process.communicate()


def test_instances_lists_them(run, applied, database):
    """`instances` shows live and expired ones with their windows; unequal nodes of one release are named, exit 1."""
    process = run("sh", "-c", "echo up; exec sleep 60", options=("--service", "shop"))
    process.stdout.readline()
    document = applied.ok("instances", "instances")
    (one,) = document["instances"]
    assert (one["service"], one["live"], one["inWindow"]) == ("shop", True, True)
    assert document["unequal"] == []
    ask(
        database,
        "INSERT INTO lockgate.instance (instance_id, service, release_id, schema_min, schema_max, observed) VALUES ('other', 'shop', 'r1', %s, %s, '{\"secrets_revision\": \"s9\"}')",
        R[1], R[3],
    )  # fmt: skip
    answer = applied.json("instances")
    assert answer.code == 1
    assert "s9" in answer.document("instances")["unequal"][0]
    ask(
        database,
        "UPDATE lockgate.instance SET heartbeat_at = now() - interval '1 hour' WHERE instance_id = 'other'",
    )
    assert len(applied.ok("instances", "instances")["instances"]) == 2
    assert len(applied.ok("instances", "instances", "--live")["instances"]) == 1
    assert "expired" in applied.text("instances").out
    process.kill()
    process.communicate()


def test_a_contract_file_waits_for_the_old_release(run, applied):
    """While an old instance is live, up holds the contract-phase file that it needs not; when it ended, it is applied."""
    process = run("sh", "-c", "echo up; exec sleep 60", options=("--service", "shop"))
    process.stdout.readline()
    applied.write("drop_x", "-- lockgate: phase=contract\nALTER TABLE a DROP COLUMN x;\n")
    held = applied.json("up")
    assert (held.code, held.error("CONTRACT_TOO_EARLY")["reasonCode"]) == (4, "CONTRACT_TOO_EARLY")
    os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=10)
    until(lambda: applied.run("up").code == 0)
