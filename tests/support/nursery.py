"""Starts Python programs quickly: a process that has libraries imported forks a child for each.

    python nursery.py FD MODULE...        imports the modules, then serves the socket FD until it is closed

An order is one packet: JSON ``{"arguments", "environment", "directory"}``, the arguments as those of ``python``
(``-m MODULE``, ``-c CODE`` or a file, each with its words), and the descriptors of stdout, stderr and of a pipe, into
which the child's pid is written and, when it has ended, its exit code, as of ``subprocess``.
"""

import contextlib
import gc
import importlib.util
import io
import json
import os
import runpy
import select
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path


def main() -> None:
    """Serve; in a child, be the program that was asked for."""
    line = socket.socket(fileno=int(sys.argv[1]))
    for module in sys.argv[2:]:
        if importlib.util.find_spec(module):
            importlib.import_module(module)
    gc.collect()
    gc.freeze()  # what is there is shared with every child for as long as nobody writes to it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    order = serve(line)
    if order is not None:
        become(order)


def serve(line: socket.socket) -> Sequence[str] | None:
    """Fork a child for each order: None at the end, and in a child its arguments."""
    ear, bell = os.pipe()
    for end in (ear, bell):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(bell, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    reports: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([line, ear], [], [])
        if ear in ready:
            os.read(ear, 4096)
        if line in ready:
            packet, fds, _, _ = socket.recv_fds(line, 1 << 20, 3)
            if not packet:
                return None
            pid = os.fork()
            if not pid:
                return born(json.loads(packet), fds)
            for fd in fds[:2]:
                os.close(fd)
            reports[pid] = fds[2]
            say(fds[2], pid)
        reap(reports)


def say(report: int, number: int) -> None:
    """Write a line into a report, which nobody may want any more."""
    with contextlib.suppress(BrokenPipeError):
        os.write(report, b"%d\n" % number)


def reap(reports: dict[int, int]) -> None:
    """Tell of every child that has ended."""
    while reports:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        report = reports.pop(pid)
        say(report, os.waitstatus_to_exitcode(status))
        os.close(report)


def born(order: dict[str, object], fds: Sequence[int]) -> Sequence[str]:
    """Make of a fork what a new process has: its streams and no other file, its environment, its directory."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for fd, stream in ((fds[0], 1), (fds[1], 2)):
        os.dup2(fd, stream)
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False, encoding=sys.stdout.encoding)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", 1, closefd=False, encoding=sys.stderr.encoding, errors="backslashreplace")  # noqa: SIM115  # fmt: skip
    os.closerange(3, 1 + max(int(open_one.name) for open_one in Path("/proc/self/fd").iterdir()))
    os.environ.clear()
    os.environ.update(order["environment"])  # type: ignore[arg-type]
    os.chdir(str(order["directory"]))
    return order["arguments"]  # type: ignore[return-value]


def become(arguments: Sequence[str]) -> None:
    """Run the program as ``python`` does with these arguments."""
    how, *words = arguments
    if how == "-m":
        sys.path[0] = str(Path.cwd())
        sys.argv = words
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    elif how == "-c":
        sys.path[0] = ""
        sys.argv = ["-c", *words[1:]]
        exec(compile(words[0], "<string>", "exec"), sys.modules["__main__"].__dict__)
    else:
        sys.path[0] = str(Path(how).parent)
        sys.argv = [how, *words]
        with io.open_code(how) as file:
            code = compile(file.read(), how, "exec")
        exec(code, {"__name__": "__main__", "__file__": how, "__builtins__": __builtins__})


if __name__ == "__main__":
    main()
