"""The keeper: launches the server, then watches it. A process of its own, started by ``spawn.py``.

As root it first makes the places and then becomes an unprivileged account for good; everything that touches
the server's files happens after that, when even the interpreter's own library may be out of reach: whatever
runs here is imported at the top. It holds no connection and stays small.
"""

# Plain os calls: descriptors, lstat, O_NOFOLLOW, and microseconds that count.
# ruff: noqa: PTH123, PTH208

import contextlib
import json
import os
import signal
from typing import Any, NoReturn

from lockgate.postgres.embedded import launch, locks, settle, watch
from lockgate.postgres.embedded.failure import LaunchError

REPORT = 3
"""The descriptor on which the caller listens."""
_HANDOVER_SECONDS = 10.0


def main(order: dict[str, Any]) -> NoReturn:
    """Carry out ``order`` (see spawn.py), tell the outcome as JSON on REPORT, then watch until the end."""
    _detach()
    try:
        settled = settle.settle(order)
        server = launch.launch(settled, order["settings"])
    except LaunchError as error:
        _tell(error.as_dict())
        os._exit(1)
    except Exception as error:  # whatever it is, the caller has to hear of it
        _tell({"error": f"{type(error).__name__}: {error}"})
        os._exit(1)
    keeper = locks.open_lock(settled.place.keeper)
    mine = locks.acquire(keeper, 0.0)
    if mine:
        locks.release(settled.lock)
    _tell({"base": settled.place.base})
    if not mine and server.started:
        # Who started a server watches it; the older keeper is just about to notice that its own server ended.
        mine = locks.acquire(keeper, _HANDOVER_SECONDS)
        locks.release(settled.lock)
    if mine:
        _watch(settled, server, order["idle_seconds"])
        os.close(keeper)  # before the launch lock: who gets that one must find the keeper's free
    os._exit(0)


def _watch(settled: settle.Settled, server: launch.Server, idle_seconds: float) -> None:
    try:
        watch.until_the_end(settled, server, idle_seconds)
    except Exception as error:  # nobody listens any more, so the server's log has to tell
        with contextlib.suppress(OSError), open(settled.place.log, "a", encoding="utf-8") as log:
            log.write(f"lockgate keeper: {type(error).__name__}: {error}\n")


def _detach() -> None:
    """Leave the caller behind: its session, its terminal, its working directory, its open files."""
    os.setsid()
    if os.fork():
        os._exit(0)
    for name in os.listdir("/dev/fd"):
        if int(name) > REPORT:
            with contextlib.suppress(OSError):  # the one that listed them
                os.close(int(name))
    os.set_inheritable(REPORT, False)
    os.chdir("/")
    for ignored in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        signal.signal(ignored, signal.SIG_IGN)


def _tell(answer: dict[str, object]) -> None:
    with contextlib.suppress(BrokenPipeError):  # the caller was killed; the server is for the next one
        os.write(REPORT, json.dumps(answer).encode())
    os.close(REPORT)
