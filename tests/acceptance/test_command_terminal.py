"""On a terminal: a progress bar while it runs, colour where it is wanted, a table at the end."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable

import pytest

from support.calls import COMMAND, Project

pytestmark = [
    pytest.mark.postgres("18"),
    pytest.mark.skipif(sys.platform != "linux", reason="the end of a pseudo-terminal is told in another way"),
]

COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])[;m]")
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_a_terminal(project: Project, *arguments: str, **environ: str) -> tuple[int, str]:
    """Run lockgate on a pseudo-terminal of 110 columns; its exit code and all that it wrote there."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 110, 0, 0))
    env = {**os.environ, **project.environ, "TERM": "xterm-256color", **environ}
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=project.root,
        env=env,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    )
    os.close(follower)
    seen, end = b"", time.monotonic() + 60
    while time.monotonic() < end:
        if not select.select([leader], [], [], 1.0)[0]:
            continue
        try:
            piece = os.read(leader, 65536)
        except OSError:  # the last writer closed it
            break
        if not piece:
            break
        seen += piece
    os.close(leader)
    return process.wait(10), seen.decode()


def test_release_shows_a_bar_and_ends_with_tables(shop: Project):
    """release on a terminal: a bar with counts and ETA, then the table of files, the table of checks, and the artifact."""
    code, seen = on_a_terminal(shop, "release", "--sha", "abcdef0123")
    assert code == 0, seen
    assert COLOUR.search(seen)
    plain = CODES.sub("", seen)
    assert "3/3" in plain
    assert "ETA" in plain
    assert "━" in plain
    lines = [line.rstrip() for line in plain.replace("\r\n", "\n").split("\n")]
    head = next(
        i for i, line in enumerate(lines) if line.split() == ["revision", "name", "state", "took", "note"]
    )
    assert set(lines[head + 1]) <= set("─ "), "a rule under the head"
    assert [line.split()[1] for line in lines[head + 2 : head + 5]] == [
        "customers",
        "orders",
        "orders_customer",
    ]
    assert [line for line in lines if line][-1].startswith("artifact: ")
    assert all(len(line) <= 110 for line in lines[head:] if not line.startswith("artifact: "))


def test_up_shows_a_bar(shop: Project):
    """up on a terminal: the bar reaches its end, and the last line says what was done."""
    code, seen = on_a_terminal(shop, "up")
    plain = CODES.sub("", seen)
    assert (code, "3/3" in plain) == (0, True), plain
    assert re.search(r"done +3 applied in [\d.]+ s, now at \d{13}", plain)
    shop.write("one_more", "CREATE TABLE one_more (id int);\n")
    more = CODES.sub("", on_a_terminal(shop, "up")[1])
    assert ("1/1" in more, "/4" in more) == (True, False), "the bar counts what is pending"
    nothing = CODES.sub("", on_a_terminal(shop, "up")[1])
    assert ("nothing to do" in nothing, "━" in nothing) == (True, False), "no bar for nothing"


def test_rehearse_shows_a_bar(shop: Project, databases: Callable[[], str]):
    """rehearse on a terminal: the bar with ETA reaches the last file, and the verdict stands at the end."""
    code, seen = on_a_terminal(shop, "rehearse", "--scratch-url", databases())
    plain = CODES.sub("", seen)
    assert code == 0, plain
    assert all(words in plain for words in ("3/3", "ETA", "━")), plain
    assert re.search(r"verdict +pass", plain)


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["NO_COLOR", "dumb"])
def test_no_colour_on_request(shop: Project, environ):
    """NO_COLOR and TERM=dumb switch colour off on a terminal too; a dumb one gets no control code at all."""
    for arguments in (["plan"], ["up"], ["status"]):
        code, seen = on_a_terminal(shop, *arguments, **environ)
        assert code == 0, seen
        assert not COLOUR.search(seen), seen
        if environ.get("TERM") == "dumb":
            assert "\x1b" not in seen


def test_json_on_a_terminal_is_plain(shop: Project):
    """--format json on a terminal prints its document and progress without colour or bar."""
    code, seen = on_a_terminal(shop, "up", "--format", "json")
    assert code == 0
    assert "━" not in seen
    assert '"command": "up"' in seen
