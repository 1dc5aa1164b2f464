"""The shop's own small platform on loopback: ``up`` starts it, ``roll SHA`` is a rollout, ``down`` stops what it started."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

HERE = Path(__file__).resolve().parent
STATE = HERE.parent / ".lockgate" / "shop.json"
RELAY = HERE.parent / ".lockgate" / "relay.jsonl"
WORKERS = ("worker-1", "worker-2")


def read() -> dict:
    """Who runs, by pid, and which sha is live."""
    return json.loads(STATE.read_text()) if STATE.is_file() else {"pids": {}, "sha": ""}


def write(state: dict) -> None:
    """Remember it."""
    STATE.parent.mkdir(exist_ok=True)
    STATE.write_text(json.dumps(state))


def start(state: dict, name: str, *words: str, **environ: str) -> None:
    """Start a program of the shop, away from our own terminal and signals."""
    log = (STATE.parent / "shop.log").open("a")
    process = subprocess.Popen(
        [sys.executable, str(HERE / words[0]), *words[1:]],
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    state["pids"][name] = process.pid
    write(state)


def stop(state: dict, name: str) -> None:
    """Stop a program that we started: the pid alone could be somebody else's by now, so its command line is looked at."""
    pid = state["pids"].pop(name, 0)
    seen = told(pid, "args") if pid else ""
    if str(HERE) in seen:
        os.kill(pid, signal.SIGTERM)
        for _ in range(200):
            try:
                os.kill(pid, 0)
                os.waitpid(pid, os.WNOHANG)
            except (ProcessLookupError, ChildProcessError):
                pass
            if not alive(pid):
                break
            time.sleep(0.02)
    write(state)


def alive(pid: int) -> bool:
    """Whether the process runs; one that is dead and not yet reaped does not."""
    seen = told(pid, "stat")
    return bool(seen) and not seen.startswith("Z")


def told(pid: int, what: str) -> str:
    """What ``ps`` says of the process, whole: without ``-ww`` it cuts its lines at a width that the environment may hold."""
    asked = ["ps", "-ww", "-o", f"{what}=", "-p", str(pid)]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def roll(state: dict, sha: str) -> None:
    """Replace the service by one of ``sha``, and wait until it answers."""
    stop(state, "service")
    state["sha"] = sha
    start(state, "service", "service.py", RELEASE_SHA=sha)
    deadline = time.monotonic() + 20
    while True:
        try:
            with urlopen(f"http://127.0.0.1:{os.environ['SHOP_PORT']}/health", timeout=3) as answer:
                if answer.headers["X-Release-Sha"] == sha:
                    return
        except (URLError, OSError):
            pass
        if time.monotonic() > deadline:
            sys.exit("the service does not answer")
        time.sleep(0.05)


def main() -> None:
    """Do what the first word says."""
    state = read()
    if sys.argv[1] == "up":
        for name in WORKERS:
            stop(state, name)
            start(state, name, "worker.py", name, str(RELAY))
        if state["sha"]:
            roll(state, state["sha"])
    elif sys.argv[1] == "roll":
        roll(state, sys.argv[2])
    elif sys.argv[1] == "down":
        for name in list(state["pids"]):
            stop(state, name)
    else:
        sys.exit("up, roll SHA or down")


if __name__ == "__main__":
    main()
