"""Warming up once for all: one owner, whoever dies, and nobody waits for more than that."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from gate.contracts import ask, contract
from lockgate.errors import RunFailed
from lockgate.gate import Probe, check
from lockgate.gate.warming import warm_up_once
from support.processes import until

pytestmark = pytest.mark.postgres("18")


def test_one_of_many_does_it(applied, database):
    """Eight that start together: one does it, all go on; for the next version it is done once again; as a probe it passes."""
    did = []
    words = []
    threads = [
        threading.Thread(
            target=lambda: words.append(warm_up_once(database, "cache", lambda: did.append(1), version="r1"))
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(did), sorted(words)) == (1, ["did"] + ["found"] * 7)
    assert warm_up_once(database, "cache", lambda: did.append(2), version="r2") == "did"
    probe = Probe.python(
        "cache", lambda: warm_up_once(database, "cache", lambda: did.append(3), version="r2"), timeout=20
    )
    assert check(contract(probes=(probe,)), database).ready
    assert did == [1, 2]


def test_one_that_fails_or_dies_leaves_it_to_the_next(applied, database):
    """What the work raises goes to its caller, kill -9 frees the claim, and the next one does it; one that hangs is a stall."""
    with pytest.raises(ZeroDivisionError):
        warm_up_once(database, "cache", lambda: 1 / 0, version="r1")
    code = (
        "import sys, time; from lockgate.gate.warming import warm_up_once;"
        "warm_up_once(sys.argv[1], 'cache', lambda: (print('up', flush=True), time.sleep(60)), version='r1')"
    )
    owner = subprocess.Popen([sys.executable, "-c", code, database], stdout=subprocess.PIPE, text=True)
    assert owner.stdout.readline() == "up\n"
    with pytest.raises(RunFailed) as caught:
        warm_up_once(database, "cache", lambda: None, version="r1", timeout=0.3)
    assert caught.value.code == "BOOTSTRAP_STALLED"
    os.kill(owner.pid, signal.SIGKILL)
    owner.communicate()
    until(lambda: warm_up_once(database, "cache", lambda: None, version="r1", timeout=5) == "did")
    assert ask(database, "SELECT count(*) FROM lockgate.warm_up") == [(1,)]
