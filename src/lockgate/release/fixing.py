"""``check --fix``: rewrite what is mechanical in files that nobody has merged yet, and keep the ledger in step.

A rewritten file is judged again before it is written: when a finding stays that the rewrite was for, or an error comes
that was not there, the file is left as it is.
"""

import hashlib
from datetime import date
from pathlib import Path

import msgspec

from lockgate.config import Settings
from lockgate.migrations.directives import DirectiveError, parse
from lockgate.migrations.files import Migration
from lockgate.migrations.immutable import committed, files_at
from lockgate.migrations.ledger import read_ledger, write_ledger
from lockgate.migrations.scaffold import alone_in, next_revision, slug
from lockgate.policy.finding import Finding
from lockgate.policy.fixes import FIXABLE, Fix, Fixed, fixed
from lockgate.record.artifact import write_atomically
from lockgate.release.project import read_files
from lockgate.release.remembered import Mode, Task
from lockgate.release.walk import walk_all


class Mended(msgspec.Struct):
    """What was done: rewrites, files that were added, and findings that stay with the reason."""

    fixes: list[Fix] = []
    added: list[str] = []
    left: list[Fix] = []
    refused: str = ""
    """Why nothing was rewritten at all, "" otherwise."""


def mend(settings: Settings, *, today: date, since: str | None = None) -> Mended:
    """Fix what can be fixed. Raises ``ConfigError`` when it cannot be told what was merged."""
    directory = settings.path(settings.migrations.directory)
    done = Mended()
    with alone_in(directory):
        merged = _merged(directory, since)
        ledger, _ = read_ledger(directory)
        files = read_files(settings)
        if ledger is None or any(problem.severity == "error" for problem in files.problems):
            # The check that follows tells what is wrong; nothing is built on it.
            first = next(
                (problem.id for problem in files.problems if problem.severity == "error"), "LEDGER_MISSING"
            )
            sealed = (
                ": lockgate check --fix --write-ledger seals the files first"
                if first.startswith("LEDGER")
                else ""
            )
            done.refused = f"nothing was rewritten, for the files are not as the ledger has them or cannot be read ({first}){sealed}"
            return done
        entries = dict(ledger.files)
        current = list(files.migrations)
        findings = _judge(settings, current, today)
        for migration in files.migrations:
            mine = [f for f in findings if f.file == migration.file and f.id in FIXABLE]
            if not mine:
                continue
            if migration.file in merged:
                done.left += [_left(f, "this file is merged; a change is a new file") for f in mine]
                continue
            at = current.index(migration)
            result = _fixed(migration, mine)
            after = [*current[:at], _with(migration, result.text), *current[at + 1 :]]
            after += [_new(directory, after, name, text) for name, text in result.more]
            judged = _judge(settings, after, today) if result.fixes else []
            if not result.fixes or not _better(findings, judged, migration.file, result):
                done.left += [_left(f, "no rewrite of this is mechanical") for f in mine]
                continue
            done.fixes += result.fixes
            answered = {(fix.line, fix.id) for fix in result.fixes}
            done.left += [
                _left(f, "no rewrite of this is mechanical") for f in mine if (f.line, f.id) not in answered
            ]
            for new in (after[at], *after[len(current) :]):
                write_atomically(directory / new.file, new.text.encode())
                entries[new.file] = new.checksum
            done.added += [new.file for new in after[len(current) :]]
            write_ledger(directory, entries)
            current, findings = after, judged
    return done


def _fixed(migration: Migration, findings: list[Finding]) -> Fixed:
    try:
        directives = parse(migration.up)
    except DirectiveError:
        return Fixed(migration.text, [], [])
    return fixed(migration.file, migration.text, migration.up, findings, transactional=directives.transaction)


def _better(before: list[Finding], after: list[Finding], file: str, result: Fixed) -> bool:
    """Whether each finding that was answered is gone, and no error is new."""
    for hazard in {fix.id for fix in result.fixes}:
        was = sum(f.file == file and f.id == hazard for f in before)
        now = sum(f.file == file and f.id == hazard for f in after)
        if now > was - sum(fix.id == hazard for fix in result.fixes):
            return False
    return sum(f.severity == "error" for f in after) < sum(f.severity == "error" for f in before) or not any(
        f.severity == "error" for f in after if f not in before
    )


def _judge(settings: Settings, migrations: list[Migration], today: date) -> list[Finding]:
    walked = walk_all(settings, [Task(migration, Mode.JUDGE) for migration in migrations], today)
    problems = [Finding(p.id, p.file, p.line, p.severity, "", p.message, p.fix) for p in walked.problems]
    return [*problems, *walked.findings]


def _with(migration: Migration, text: str) -> Migration:
    return msgspec.structs.replace(migration, text=text, checksum=hashlib.sha256(text.encode()).hexdigest())


def _new(directory: Path, known: list[Migration], name: str, text: str) -> Migration:
    newest = max(int(migration.revision) for migration in known)
    revision = f"{max(int(next_revision(directory)), newest + 1):013d}"
    made = slug(name[:100])
    return _with(Migration(revision, made, f"{revision}_{made}.sql", "", ""), text)


def _left(found: Finding, why: str) -> Fix:
    return Fix(found.file, found.line, found.id, why)


def _merged(directory: Path, since: str | None) -> frozenset[str]:
    """The files that may not change: those of the given revision, else those that are committed."""
    if since is not None:
        return frozenset(files_at(directory, since))
    return committed(directory)
