"""Starts runners quickly: a process that has everything imported forks a child for each, which is hurt for real.

The protocol is a JSON line each way: in ``{"arguments", "environment", "directory", "out", "err"}``, out ``{"born": pid}``;
and ``{"ended": pid, "status": code}`` whenever a child ends, with ``code`` as of ``subprocess``.
"""

import importlib
import json
import os
import pkgutil
import select
import signal
import sys
import traceback
from pathlib import Path


def main() -> None:
    """Serve until stdin closes."""
    sys.path.insert(0, str(Path(__file__).parent))
    _preload()
    ear, bell = os.pipe()
    os.set_blocking(bell, False)
    os.set_blocking(ear, False)
    signal.set_wakeup_fd(bell, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    say({"ready": os.getpid()})
    pending = b""
    while True:
        ready, _, _ = select.select([0, ear], [], [])
        if ear in ready:
            os.read(ear, 4096)
            reap()
        if 0 in ready:
            data = os.read(0, 65536)
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                say({"born": bear(json.loads(line), ear, bell)})
                reap()


def _preload() -> None:
    """Import what runners import, so that a fork costs nothing and all of them run the same code."""
    import psycopg  # noqa: F401
    import runner  # noqa: F401

    from lockgate import migrations, postgres, record, release

    for room in (record, postgres, migrations, release):
        for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
            importlib.import_module(module.name)
    for place, load in ((migrations, migrations.session.statement), (postgres, postgres.queries.query)):
        for path in Path(place.__path__[0], "sql").glob("*.sql"):
            load(path.stem)


def say(message: dict[str, int]) -> None:
    """One line to whoever started us."""
    os.write(1, json.dumps(message).encode() + b"\n")


def reap() -> None:
    """Tell of every child that has ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        say({"ended": pid, "status": os.waitstatus_to_exitcode(status)})


def bear(order: dict[str, object], *close: int) -> int:
    """Fork a runner; returns its pid here and never returns there."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setpgid(0, 0)
        for fd in close:
            os.close(fd)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        for fd, path in ((1, str(order["out"])), (2, str(order["err"]))):
            opened = os.open(path, flags, 0o600)
            os.dup2(opened, fd)
            os.close(opened)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.environ.clear()
        os.environ.update(order["environment"])  # type: ignore[arg-type]
        os.chdir(str(order["directory"]))
        import runner

        code = runner.run(list(order["arguments"]))  # type: ignore[call-overload]
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
