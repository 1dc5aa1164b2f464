"""The heartbeat of a command that was exec'ed: a small process beside it that ends when it ends.

It is no child of the command (it is forked twice), so the command meets no unknown child. It watches the command through a
pidfd, which no reused process id can fool; where the system has none, it stays a child and looks at its parent's id.
"""

import os
import random
import select
import signal
import time
from collections.abc import Callable, Mapping

from lockgate.gate.checking import check, own_of_environment
from lockgate.gate.contract import Contract
from lockgate.postgres.gate import Seen, beat, look, sign_off
from lockgate.postgres.target import Target


class Pulse:
    """What the heartbeat of one instance needs; ``begin`` starts it beside this process, which may exec afterwards."""

    def __init__(
        self,
        contract: Contract,
        target: Target,
        instance: Mapping[str, object] | None,
        *,
        interval: float,
        stops: bool = False,
    ) -> None:
        self.contract = contract
        self.target = target
        self.instance = instance
        """None where the command is watched and not registered."""
        self.interval = interval
        self.stops = stops
        """Whether a definite mismatch terminates the command."""

    def begin(self) -> None:
        """Fork the heartbeat away. Returns in the caller only."""
        command = os.getpid()
        try:
            watch: int | None = os.pidfd_open(command)
        except (AttributeError, OSError):
            watch = None
        first = os.fork()
        if first:
            if watch is not None:
                os.close(watch)
                os.waitpid(first, 0)
            return
        try:
            os.setsid()
            if watch is not None and os.fork():
                os._exit(0)
            _let_go(watch)
            self._beat_while(_Alive(command, watch))
        finally:
            os._exit(0)

    def _beat_while(self, command: "_Alive") -> None:
        rng = random.Random()  # noqa: S311 - jitter
        while command.lives(self.interval * (0.8 + 0.4 * rng.random())):
            try:
                report = check(
                    self.contract, self.target, own=own_of_environment(), starting=False, look=self._look
                )
            except Exception:  # noqa: S112 - a heartbeat that dies of a bug would let a contract file pass its instance
                continue
            if self.stops and report.definite and not report.ready:
                command.terminate()
        if self.instance is not None:
            sign_off(self.target, str(self.instance["instance_id"]), timeout=2.0)

    def _look(self, target: Target, contract: Mapping[str, object], *, timeout: float) -> Seen:
        if self.instance is None:
            return look(target, contract, timeout=timeout)
        return beat(target, contract, self.instance, timeout=timeout)


class _Alive:
    """The command, seen from the heartbeat."""

    def __init__(self, pid: int, watch: int | None) -> None:
        self.pid = pid
        self.watch = watch

    def lives(self, seconds: float) -> bool:
        """Wait ``seconds``, or until the command has ended; False when it has."""
        if self.watch is not None:
            poll = select.poll()
            poll.register(self.watch, select.POLLIN)
            return not poll.poll(seconds * 1000)
        end = time.monotonic() + seconds
        while os.getppid() == self.pid and time.monotonic() < end:
            time.sleep(0.2)
        return os.getppid() == self.pid

    def terminate(self) -> None:
        """Ask the command to end, as an orchestrator would."""
        send: Callable[[int, int], None] | None = getattr(signal, "pidfd_send_signal", None)
        try:
            if self.watch is not None and send is not None:
                send(self.watch, signal.SIGTERM)
            elif os.getppid() == self.pid:
                os.kill(self.pid, signal.SIGTERM)
        except ProcessLookupError:
            return


def _let_go(keep: int | None) -> None:
    """Hold nothing of the command's: no pipe that a reader waits on, no lock, no terminal, no folder."""
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    most = os.sysconf("SC_OPEN_MAX")
    at = keep if keep is not None else 2
    if at > 2:
        os.closerange(3, at)
    os.closerange(at + 1, min(most, 65536))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
