"""``lockgate gate``."""

import shlex
from typing import TYPE_CHECKING, Any

import click

from lockgate.cli.options import Session, leave, shared, usage
from lockgate.cli.secrets import command as secrets
from lockgate.cli.signature import command as signature
from lockgate.record.reasons import Exit
from lockgate.record.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from lockgate.cli.output import Output
    from lockgate.gate.contract import Contract
    from lockgate.gate.report import Report

_contract = click.option(
    "--contract",
    metavar="FILE",
    default=None,
    help="The image's contract (default: LOCKGATE_CONTRACT and its like, else lockgate.contract.json here).",
)


def read_contract(path: str | None) -> "Contract":
    """The contract of ``--contract``, else that of the environment, else ``lockgate.contract.json`` here. Raises ``ConfigError``."""
    import os

    from lockgate.gate.contract import FILE_NAME, Contract

    if path is not None:
        return Contract.from_file(path)
    said = (
        os.environ.get("LOCKGATE_CONTRACT", "").strip()
        or "LOCKGATE_SCHEMA_MIN" in os.environ
        or "LOCKGATE_SCHEMA_MAX" in os.environ
    )
    if not said and os.path.isfile(FILE_NAME):  # noqa: PTH113 - as the gate's own reading
        return Contract.from_environment({**os.environ, "LOCKGATE_CONTRACT": FILE_NAME})
    return Contract.from_environment()


def listener(output: "Output") -> "Callable[[Report, float], None]":
    """What is told while a gate is waited for: each new answer once, with the seconds left, or that waiting cannot help."""
    from lockgate.gate.checking import FINAL

    told = ""

    def heard(report: "Report", left: float) -> None:
        nonlocal told
        if report.answer != told and not report.ready and left > 0:
            told = report.answer
            why = next((c.evidence for c in report.conditions if c.answer != "pass"), "")
            end = "waiting cannot help" if report.answer in FINAL else f"{left:.0f} s left"
            output.note(f"lockgate: {told}: {why}; {end}")

    return heard


def show(output: "Output", report: "Report", contract: "Contract", target: object, **more: object) -> None:
    """Print a report for people and for programs."""
    output.json(
        {
            "command": "gate", "target": str(target), "releaseId": contract.release_id, "service": contract.service,
            **report.document(), **more,
        }
    )  # fmt: skip
    kinds = {"pass": "good", "fail": "bad", "unknown": "warn"}
    output.table(
        ("condition", "answer", "evidence"),
        [(c.id, output.mark(c.answer, kinds[c.answer]), c.evidence) for c in report.conditions],
    )
    for warning in report.warnings:
        output.note(f"lockgate: warning: {warning}")
    output.say(
        f"{output.mark(report.answer, 'good' if report.ready else 'bad')}: {'ready' if report.ready else 'not ready'}"
    )
    for condition in report.conditions:
        if condition.answer != "pass" and condition.next:
            output.say(f"  next ({condition.id}): {condition.next}")


@click.group("gate", invoke_without_command=True)
@shared()
@_contract
@click.option(
    "--timeout", metavar="SECONDS", type=click.FloatRange(min=0.5, max=300), default=5.0, show_default=True,
    help="How long the database may take to answer.",
)  # fmt: skip
@click.pass_context
def command(context: click.Context, /, contract: str | None, timeout: float, **shared_options: Any) -> None:
    """Is this contract satisfied by this environment? Asks once, changes nothing and registers nothing; without a database, the embedded one.

    Exits 0 when ready, 1 on a definite no, 69 when only something unreachable is in the way, 5 on any other doubt, 2 for a
    wrong contract.
    """
    if context.invoked_subcommand is not None:
        return
    from lockgate.gate.checking import check

    session = Session(**shared_options)
    asked = read_contract(contract)
    target = session.target()
    if target.source == "embedded":
        session.output.note("lockgate: no database is named, so the project's embedded PostgreSQL is asked")
    report = check(asked, target, timeout=timeout, signed=True)
    show(session.output, report, asked, target)
    leave(Exit(report.exit_code))


@command.command("wait")
@shared()
@_contract
@click.option(
    "--timeout", metavar="SECONDS", type=click.FloatRange(min=0), default=60.0, show_default=True,
    help="How long to wait until it is ready.",
)  # fmt: skip
def wait_command(contract: str | None, timeout: float, **shared_options: Any) -> None:
    """Ask until the contract is satisfied, or until waiting is over or pointless. Exit codes as those of `gate`."""
    import time

    from lockgate.gate.checking import wait

    session = Session(**shared_options)
    asked = read_contract(contract)
    target = session.target(embedded=False)
    begun = time.monotonic()
    report = wait(asked, target, timeout=timeout, signed=True, on_report=listener(session.output))
    show(session.output, report, asked, target, waitedSeconds=round(time.monotonic() - begun, 3))
    leave(Exit(report.exit_code))


@command.command("contract")
@shared(target=False)
@click.option("--release-id", metavar="ID", default="", help="The release that the image is of.")
@click.option("--git-sha", metavar="SHA", default="", help="The commit that the image was built from.")
@click.option("--service", metavar="NAME", default="", help="The service that the image runs.")
@click.option(
    "--min",
    "low",
    metavar="REVISION",
    default="",
    help="The oldest schema that the image runs on (default: the newest file).",
)
@click.option(
    "--max",
    "high",
    metavar="REVISION",
    default="",
    help="The newest schema that it was built for (default: the newest file).",
)
@click.option("--output", metavar="FILE", default="", help="Write it there instead of printing it.")
def contract_command(
    release_id: str, git_sha: str, service: str, low: str, high: str, output: str, **shared_options: Any
) -> None:
    """Write the contract of an image from the migration files: its window, and the digest up to the window's end."""
    import json
    from pathlib import Path

    from lockgate.gate.contract import Contract
    from lockgate.gate.digest import history_digest
    from lockgate.record.artifact import write_atomically
    from lockgate.release.project import read_files, refuse_problems

    session = Session(**shared_options)
    files = read_files(session.settings)
    refuse_problems(files.problems)
    newest = max(m.revision for m in files.migrations)
    known = {m.revision for m in files.migrations}
    for option, given in (("--min", low), ("--max", high)):
        if given and given not in known:
            raise usage(f"{option} {given}: there is no such file", "lockgate status lists the revisions.")
    contract = Contract(
        min=low or high or newest, max=high or newest, release_id=release_id, git_sha=git_sha, service=service,
        digest=history_digest(((m.revision, m.checksum) for m in files.migrations), high or newest), source="gate contract",
    )  # fmt: skip
    document: dict[str, Any] = contract.document() | ({"service": service} if service else {})
    below = [r for r in sorted(known) if contract.min <= r < contract.max]
    if below:  # one digest for each schema that it may meet
        pairs = [(m.revision, m.checksum) for m in files.migrations]
        document["schema"]["digests"] = {r: history_digest(pairs, r) for r in below}
    text = json.dumps(document, indent=2) + "\n"
    if output:
        write_atomically(Path(output), text.encode())
    else:
        session.output.document(text)
    _tell(session.output, contract, output, sum(contract.min <= r <= contract.max for r in known))


def _tell(output: "Output", contract: "Contract", file: str, revisions: int) -> None:
    """What the contract says, and what is done with it: beside the document, which stdout has for itself."""
    from lockgate.gate.contract import FILE_NAME

    told = f"lockgate: {file or 'the contract'}: schema {contract.min} to {contract.max}, {counted(revisions, 'revision')}"
    output.note(told)
    if contract.min == contract.max:
        output.note(
            "  the image starts on this schema only; --min REVISION names an older one that it runs on, too, so that it can start before a release and go back after it"
        )
    if not file:
        output.note(
            f"  next:  lockgate gate contract --output {FILE_NAME}, and copy that file into the image"
        )
    else:
        given = "" if file == FILE_NAME else f" --contract {shlex.quote(file)}"
        output.note(
            f"  next:  copy it into the image, whose entrypoint is lockgate run{given} -- CMD; lockgate gate{given} asks now"
        )


command.add_command(secrets)
command.add_command(signature)
