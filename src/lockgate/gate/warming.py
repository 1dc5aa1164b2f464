"""Warming up once for all: of the processes that start together one does the work, the others wait for it and for nobody else."""

import os
import random
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from lockgate.errors import RunFailed
from lockgate.gate.checking import target_of
from lockgate.postgres.owners import WarmUp

if TYPE_CHECKING:
    from lockgate.postgres.target import Target

DID, FOUND = "did", "found"


def warm_up_once(
    database: "str | Target",
    name: str,
    call: Callable[[], object],
    *,
    version: str,
    timeout: float = 120.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    rng: random.Random | None = None,
) -> str:
    """Have ``call`` done by one process for this ``version`` (a release, an index hash): ``did`` here, or ``found`` done.

    The owner holds a session lock: when it dies, or when its ``call`` raises, the next one takes over. Raises what ``call``
    raises; ``RunFailed`` (BOOTSTRAP_STALLED) when it is not done within ``timeout`` seconds; ``Unreachable``, ``Refused``. As a
    probe: ``Probe.python("cache", lambda: warm_up_once(URL, "cache", fill, version="r42"), timeout=120)``.
    """
    rng = rng or random.Random()  # noqa: S311 - jitter
    deadline = clock() + timeout
    with WarmUp(target_of(database), name, version) as work:
        while not work.owner():
            if work.claim():
                if work.owner():  # done between our look and our claim
                    break
                begun = clock()
                call()
                work.note(f"{socket.gethostname()}-{os.getpid()}", clock() - begun)
                return DID
            if clock() >= deadline:
                raise RunFailed(
                    f"the warm-up {name} of {version} is not done after {timeout:g} s", "BOOTSTRAP_STALLED"
                )
            sleep(0.1 + 0.2 * rng.random())
    return FOUND
