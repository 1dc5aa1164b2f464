"""A runner that can be hurt: ``lockgate`` in a process of its own, with a hook on its numbered points.

    python runner.py up --format json        with FAULT in the environment

``FAULT`` is JSON: ``{"kind", "at", "name", "control", "trace"}``. The fault strikes at the ``at``-th point that the
main thread passes (from 1), or at the ``at``-th one whose name contains ``name``.

``raise``    a RuntimeError
``kill``     kill -9 of this very process
``term``     SIGTERM to this process, delivered before the point is left
``ask``      tells the socket ``control`` where it stands and waits for an answer: the test cuts wires, crashes the
             server or looks around meanwhile
``trace``    appends every point to the file ``trace`` and harms nobody
"""

import json
import os
import signal
import socket
import sys
import threading


class Hook:
    """Counts the points of the main thread and strikes at the chosen one, once."""

    def __init__(self, fault: dict[str, object]) -> None:
        self.kind = str(fault.get("kind", "trace"))
        self.at = int(str(fault.get("at", 0)))
        self.name = str(fault.get("name", ""))
        self.control = str(fault.get("control", ""))
        self.trace = str(fault.get("trace", ""))
        self.seen = 0

    def __call__(self, name: str) -> None:
        """Pass the point ``name``."""
        if threading.current_thread() is not threading.main_thread():
            return  # the warden's looks come when they come; a count must be the same in every run
        if self.trace:
            with open(self.trace, "a", encoding="utf-8") as file:  # noqa: PTH123 - one short write
                file.write(name + "\n")
        if self.name and self.name not in name:
            return
        self.seen += 1
        if self.seen == self.at:
            self._strike(name)

    def _strike(self, name: str) -> None:
        if self.kind == "raise":
            raise RuntimeError(f"injected at {name}")
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "term":
            os.kill(os.getpid(), signal.SIGTERM)
        if self.kind == "ask":
            with socket.socket(socket.AF_UNIX) as line:
                line.connect(self.control)
                line.sendall(name.encode() + b"\n")
                line.recv(1)


def _skew(skew: str) -> None:
    """Make the wall clock wrong by so many seconds, or (``back``) run backwards an hour at every look."""
    import datetime
    import time

    from lockgate.migrations import progress

    looks = 0
    right = time.time

    def wrong() -> float:
        nonlocal looks
        looks += 1
        return right() + (-3600.0 * looks if skew == "back" else float(skew))

    class Wrong(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> "Wrong":
            return cls.fromtimestamp(wrong(), tz)

    time.time = wrong
    progress.datetime = Wrong  # type: ignore[misc]


def run(arguments: list[str]) -> int:
    """Run ``lockgate`` with ``arguments`` under the fault of the environment; returns its exit code."""
    from lockgate.record import points

    fault = os.environ.get("FAULT")
    if fault:
        points.install(Hook(json.loads(fault)))
    if grace := os.environ.get("FAULT_GRACE"):
        from lockgate.migrations import transactional
        from lockgate.postgres import warden, wire
        from lockgate.release import up

        # Seconds that a silent peer is waited for; tests have fewer.
        seconds = float(grace)
        wire.CANCELLING = wire.GRACE = wire.PATIENCE = seconds
        transactional.COMMIT_GRACE = warden.ANSWER = up.LAST_WORD = seconds
    if skew := os.environ.get("FAULT_SKEW"):
        _skew(skew)
    from lockgate.cli.main import main

    sys.argv = ["lockgate", *arguments]
    try:
        main()
    except SystemExit as leaving:
        code = leaving.code
        return code if isinstance(code, int) else int(code is not None)
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
