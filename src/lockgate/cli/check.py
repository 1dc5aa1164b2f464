"""``lockgate check``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lockgate.cli.options import Session, leave, shared, usage
from lockgate.cli.output import Format
from lockgate.record.reasons import Exit

if TYPE_CHECKING:
    from lockgate.cli.reports.report import Report
    from lockgate.policy.model.snapshot import Snapshot
    from lockgate.release.fixing import Mended
    from lockgate.release.review import Review


@click.command("check")
@shared(
    target=False,
    formats=tuple(Format),
    help="sarif, github, gitlab and junit for CI, markdown for a summary.",
)
@click.option(
    "--since",
    metavar="REV",
    default=None,
    help="Judge only files that are not in this git revision, and refuse edits, deletions and re-locked entries of those that are.",
)
@click.option(
    "--snapshot",
    metavar="FILE",
    default=None,
    help="Start from the schema in this file; files up to its revision are in it already and are not judged by the policy.",
)
@click.option("--strict", is_flag=True, help="Fail on warnings too.")
@click.option(
    "--write-ledger",
    is_flag=True,
    help="First write checksums.json anew from the files that are there; --since and the databases still refuse edits of old ones.",
)
@click.option(
    "--cache/--no-cache",
    default=True,
    show_default=True,
    help="Take what was judged before from the user's cache folder.",
)
@click.option(
    "--deploy",
    metavar="PATH",
    multiple=True,
    help="Look also for migrations that run where an application starts: Dockerfiles, compose files, manifests, workflows, start scripts, Python. A file or a folder; can be given more than once.",
)
@click.option(
    "--fix",
    is_flag=True,
    help="First rewrite what is mechanical, in files that are not merged: not at --since, else not committed. Says what it did.",
)
def command(
    since: str | None,
    snapshot: str | None,
    deploy: tuple[str, ...],
    fix: bool,
    strict: bool,
    write_ledger: bool,
    cache: bool,
    **shared_options: Any,
) -> None:
    """Judge files, ledger and policy without a database. Exits 1 when there is an error.

    The file contract says what may stand in a file at all; the policy says what it locks, rewrites and takes from a
    running release, against the schema that the earlier files built. `lockgate explain ID` tells about a finding.
    """
    from datetime import UTC, datetime

    from lockgate.release.remembered import Memory, folder_of
    from lockgate.release.review import review

    session = Session(**shared_options)
    directory = session.settings.path(session.settings.migrations.directory)
    start = None if snapshot is None else _snapshot(snapshot)
    if write_ledger:
        from lockgate.migrations.ledger import write_ledger as write
        from lockgate.release.project import read_files

        found = read_files(session.settings)
        if found.migrations:
            write(directory, {m.file: m.checksum for m in found.migrations})
    mended = _mend(session, since) if fix else None
    folder = folder_of() if cache else None
    answer = review(
        session.settings,
        today=datetime.now(UTC).date(),
        since=since,
        snapshot=start,
        memory=None if folder is None else Memory(folder),
    )
    if deploy:
        answer = _with_deployments(answer, deploy)
    failed = any(f.severity == "error" or (strict and f.severity == "warning") for f in answer.findings)
    _print(session, answer, directory, mended, strict=strict)
    leave(Exit.FOUND if failed else Exit.OK)


def _with_deployments(answer: "Review", paths: tuple[str, ...]) -> "Review":
    from lockgate.release.review import with_deployments

    try:
        return with_deployments(answer, map(Path, paths))
    except OSError as error:
        raise usage(f"--deploy {error.filename}: {error.strerror}", next="lockgate check --help") from None


def _snapshot(name: str) -> "Snapshot":
    from lockgate.policy.model.snapshot import read

    try:
        return read(Path(name).read_bytes())
    except OSError as error:
        raise usage(f"--snapshot {name}: {error.strerror}", next="lockgate check --help") from None


def _mend(session: Session, since: str | None) -> "Mended":
    from datetime import UTC, datetime

    from lockgate.release.fixing import mend

    return mend(session.settings, today=datetime.now(UTC).date(), since=since)


def _tell(session: Session, mended: "Mended") -> None:
    """What was rewritten: to people with the answer, to others beside it."""
    tell = session.output.say if session.output.format is Format.TEXT else session.output.note
    if mended.refused:
        tell(f"fix   {mended.refused}")
    for fix in mended.fixes:
        tell(f"fixed {fix.file}:{fix.line}: {fix.id}: {fix.done}")
    for name in mended.added:
        tell(f"added {name}")
    for fix in mended.left:
        tell(f"left  {fix.file}:{fix.line}: {fix.id}: {fix.done}")


def _print(
    session: Session, answer: "Review", directory: Path, mended: "Mended | None", *, strict: bool
) -> None:
    output = session.output
    if mended is not None:
        _tell(session, mended)
    if output.format is Format.JSON:
        more = {} if mended is None else {"fixed": mended}
        output.json({**_document(answer), **more}, {"statements": _statements(answer)})
        return
    from lockgate import __version__
    from lockgate.cli.reports.report import Report, repository_path
    from lockgate.record.redact import redact

    people = output.format is Format.TEXT
    report = Report(
        answer.findings,
        tuple(name for name in answer.texts if name not in answer.elsewhere),
        len(answer.statements),
        directory.as_posix() if people else repository_path(directory),
        answer.texts,
        __version__,
        strict,
        answer.elsewhere,
        answer.profile,
    ).redacted(redact)
    if people:
        from lockgate.cli.reports.text import render

        output.document("".join(f"{line}\n" for line in render(report, output.mark, notes=output.verbose)))
    else:
        output.document(_rendered(report, output.format))


def _document(answer: "Review") -> dict[str, Any]:
    shown = ("id", "file", "line", "severity", "phase", "message", "fix", "evidence")
    return {
        "command": "check",
        "profile": answer.profile,
        "files": answer.files,
        "findings": [{name: getattr(finding, name) for name in shown} for finding in answer.findings],
    }


def _statements(answer: "Review") -> Any:
    """The facts of each statement, redacted: its words are few and come again and again, so each is looked at once."""
    from lockgate.record.redact import redact, redact_value

    words: set[str] = set()
    statements = []
    for s in answer.statements:
        words.update((s.file, s.kind), s.locks, s.rewrites, s.scans)
        statements.append(
            {
                "file": s.file, "line": s.line, "kind": s.kind, "understood": s.understood, "opaque": s.opaque,
                "transactional": s.transactional, "locks": s.locks, "rewrites": s.rewrites, "scans": s.scans,
            }
        )  # fmt: skip
    return redact_value(statements) if any(redact(word) != word for word in words) else statements


def _rendered(report: "Report", format: Format) -> str:
    """The report in a format of other programs; only the module of that format is imported."""
    from importlib import import_module

    return str(import_module(f"lockgate.cli.reports.{format.value}").render(report))
