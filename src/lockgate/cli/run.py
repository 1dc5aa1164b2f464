"""``lockgate run -- CMD``."""

from typing import TYPE_CHECKING, Any, NoReturn

import click

from lockgate.cli.gate import listener, read_contract, show
from lockgate.cli.options import Session, leave, shared, usage
from lockgate.record.reasons import Exit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType


@click.command("run", context_settings={"ignore_unknown_options": False})
@shared()
@click.option(
    "--contract",
    metavar="FILE",
    default=None,
    help="The image's contract (default: LOCKGATE_CONTRACT and its like, else lockgate.contract.json here).",
)
@click.option(
    "--timeout", metavar="SECONDS", type=click.FloatRange(min=0), default=60.0, show_default=True,
    help="How long to wait until it is ready.",
)  # fmt: skip
@click.option(
    "--service",
    metavar="NAME",
    default="",
    help="The name to register under (default: the contract's, else the command's).",
)
@click.option(
    "--interval", metavar="SECONDS", type=click.FloatRange(min=1, max=3600), default=15.0, show_default=True,
    help="Time between two heartbeats; an instance counts for four of them.",
)  # fmt: skip
@click.option(
    "--stop-on-mismatch", is_flag=True, help="Send SIGTERM to the command when the schema leaves its window."
)
@click.option(
    "--no-register", is_flag=True,
    help="Register no instance, as where the URL is a standby's: a contract-phase file does not wait for CMD then.",
)  # fmt: skip
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="-- CMD [ARGS]...")
def command(
    contract: str | None,
    timeout: float,
    service: str,
    interval: float,
    stop_on_mismatch: bool,
    no_register: bool,
    words: tuple[str, ...],
    **shared_options: Any,
) -> None:
    """Wait for the gate, then become CMD: its signals, its exit code, its process id.

    A small process beside CMD keeps the heartbeat of the instance and ends with CMD. When the gate stays closed, CMD is not
    started, and the exit codes are those of `gate`. Neither is it when the instance cannot be registered.
    """
    import os
    import shutil
    import signal
    import socket
    from pathlib import Path

    from lockgate.gate.checking import look_unregistered, wait
    from lockgate.gate.pulse import Pulse
    from lockgate.postgres.gate import beat, count_attempt, sign_off

    session = Session(**shared_options)
    if not words:
        raise usage("there is no command to run", "lockgate run -- CMD [ARGS]...")
    if shutil.which(words[0]) is None:
        raise usage(f"{words[0]}: there is no such command", "Give the path of a program, or put it on PATH.")
    asked = read_contract(contract)
    target = session.target(embedded=False)
    name = service or asked.service or Path(words[0]).name
    instance = {
        "instance_id": f"{socket.gethostname()}-{os.getpid()}-{os.urandom(4).hex()}",
        "service": name, "ttl_seconds": round(interval * 4), "observed": {"secrets_revision": os.environ.get("LOCKGATE_SECRETS_REVISION", "")},
    }  # fmt: skip
    import time

    begun = time.monotonic()
    # As process 1 of a container nobody but a handler hears SIGTERM, and waiting may be long.
    before = {number: signal.signal(number, _stop) for number in (signal.SIGTERM, signal.SIGINT)}
    registered = False

    def look(database: Any, document: Any, *, timeout: float) -> Any:
        nonlocal registered
        seen = beat(database, document, instance, timeout=timeout)
        registered = registered or bool(seen.state.get("registered"))
        return seen

    try:
        report = wait(
            asked,
            target,
            timeout=timeout,
            signed=True,
            on_report=listener(session.output),
            look=look_unregistered if no_register else look,
        )
    except SystemExit:
        if registered:
            sign_off(target, str(instance["instance_id"]), timeout=2.0)
        raise
    seconds = time.monotonic() - begun
    outcome = "ready" if report.ready else "refused" if report.definite else "unknown"
    if outcome != "unknown":
        count_attempt(target, name, outcome, report.answer, seconds)
    if not report.ready:
        if registered:
            sign_off(target, str(instance["instance_id"]), timeout=2.0)
        show(session.output, report, asked, target, waitedSeconds=round(seconds, 3))
        leave(Exit(report.exit_code))
    for warning in report.warnings:
        session.output.note(f"lockgate: warning: {warning}")
    for number, handler in before.items():
        signal.signal(number, handler)
    if not no_register or stop_on_mismatch:
        Pulse(
            asked, target, None if no_register else instance, interval=interval, stops=stop_on_mismatch
        ).begin()
    _become(
        words,
        os.environ if no_register else {**os.environ, "LOCKGATE_INSTANCE_ID": str(instance["instance_id"])},
    )


def _stop(number: int, frame: "FrameType | None") -> NoReturn:
    raise SystemExit(128 + number)


def _become(words: tuple[str, ...], environ: "Mapping[str, str]") -> NoReturn:
    import os
    import signal
    import sys

    # Python ignores these two, and what is ignored stays so across exec: a command in a pipe would never end.
    for name in ("SIGPIPE", "SIGXFSZ"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execvpe(words[0], list(words), environ)  # noqa: S606 - becoming the command is the point
    except OSError as error:
        raise usage(
            f"{words[0]}: {error.strerror}", "Give the path of a program that can be executed."
        ) from None
