"""What is wrong with a project's files: the ledger, the file contract and the policy, in one answer.

What was judged before is remembered (``remembered.py``): an unchanged project is answered without loading the parser.
"""

from collections.abc import Iterable
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from lockgate.config import Settings
from lockgate.migrations.finding import Problem
from lockgate.policy.finding import Finding, StatementFacts
from lockgate.release.project import read_files
from lockgate.release.remembered import Memory, Mode, Task, Walked

if TYPE_CHECKING:
    from lockgate.policy.model.snapshot import Snapshot

LONGEST = 2_000_000
"""Bytes of a scanned file that are shown from."""


class Review(Struct, frozen=True):
    """The answer: findings by file and line, the facts of each judged statement, and the texts that were read."""

    files: int
    findings: tuple[Finding, ...]
    statements: tuple[StatementFacts, ...]
    texts: dict[str, str]
    # Files of ``--deploy`` that something was found in.
    elsewhere: frozenset[str] = frozenset()
    profile: str = "default"


def review(
    settings: Settings,
    *,
    today: date,
    since: str | None = None,
    snapshot: "Snapshot | None" = None,
    memory: Memory | None = None,
) -> Review:
    """Judge every file of the project.

    With ``since`` what git has at that revision is only learnt from, and refused where it was changed. With
    ``snapshot`` the files up to its revision keep the contract but are not judged: they are in it already. ``memory``
    gives the answers of earlier calls; None judges everything anew.
    """
    files = read_files(settings)
    problems = list(files.problems)
    old: dict[str, bytes] = {}
    if since is not None:
        from lockgate.migrations.immutable import compare_with, files_at

        directory = settings.path(settings.migrations.directory)
        old = files_at(directory, since)
        problems += compare_with(directory, since, old)
    tasks = []
    for migration in files.migrations:
        mode = Mode.JUDGE
        if migration.file in old:
            same = migration.text.encode() == old[migration.file]
            mode = Mode.LEARN if same else Mode.CONTRACT
        tasks.append(Task(migration, mode))
    walked = _walk(settings, tasks, today, snapshot, memory)
    findings = [*map(finding_of, [*problems, *walked.problems]), *walked.findings]
    if settings.policy.profile == "early-stage":
        findings.append(_allows_more(settings, findings))
    findings.sort(key=lambda found: (found.file, found.line))
    return Review(
        len(files.migrations),
        tuple(findings),
        tuple(walked.statements),
        {migration.file: migration.text for migration in files.migrations},
        profile=settings.policy.profile,
    )


def _allows_more(settings: Settings, findings: list[Finding]) -> Finding:
    """Every report says so, whatever its format; louder where something is let through."""
    lowered = [found.id for found in findings if found.evidence.endswith("profile early-stage allows it")]
    number = f"{len(lowered)} finding{'s' if len(lowered) > 1 else ''}"
    ids = ", ".join(dict.fromkeys(lowered))
    told = f"; {number} would block without it: {ids}" if lowered else ""
    return Finding(
        "policy-early-stage",
        settings.migrations.directory,
        0,
        "warning" if lowered else "info",
        "",
        f"the profile is early-stage: what takes data or names away is allowed{told}",
        "Take the profile out of lockgate.toml before anybody depends on the data.",
        "read: lockgate.toml",
    )


def _walk(
    settings: Settings, tasks: list[Task], today: date, snapshot: "Snapshot | None", memory: Memory | None
) -> Walked:
    if memory is None:
        from lockgate.release.walk import walk_all

        return walk_all(settings, tasks, today, snapshot)
    key = memory.key(settings, tasks, today, snapshot)
    found = memory.recall(key)
    if found is None:
        found = _walk_anew(settings, tasks, today, snapshot, memory)
        memory.keep(key, found)
    return found


def _walk_anew(
    settings: Settings, tasks: list[Task], today: date, snapshot: "Snapshot | None", memory: Memory
) -> Walked:
    """Judge what has changed since the last call, and what that can reach; or everything."""
    from lockgate.release import parts
    from lockgate.release.walk import walk_all

    if snapshot is not None or not parts.divisible(settings, tasks):
        return walk_all(settings, tasks, today, snapshot)
    key = memory.place(settings, today)
    before = memory.recall_as(key, parts.Parts)
    after = None if before is None else parts.judge_changed(settings, tasks, today, before)
    if after is None and before is None:
        from lockgate.release.halves import judge_in_halves

        after = judge_in_halves(settings, tasks, today)
    if after is None:
        walked, after = parts.judge_whole(settings, tasks, today)
    else:
        walked = parts.put_together(after)
    memory.keep_as(key, after)
    return walked


def finding_of(problem: Problem) -> Finding:
    """A breach of the file contract as a finding; it belongs to no phase."""
    return Finding(
        problem.id, problem.file, problem.line, problem.severity, "", problem.message, problem.fix, "read"
    )


def with_deployments(answer: Review, paths: Iterable[Path]) -> Review:
    """The answer with what ``policy.deploy`` finds in ``paths``. A path that is not there raises ``OSError``."""
    from lockgate.policy.deploy import scan

    found = scan(paths)
    texts = dict(answer.texts)
    for file in {one.file for one in found}:
        with suppress(OSError):
            texts[file] = Path(file).read_bytes()[:LONGEST].decode("utf-8", "replace")
    told = [
        Finding(
            f.id,
            f.file,
            f.line,
            f.severity,
            "",
            f.message,
            f.fix,
            f"read: {f.evidence}" if f.evidence else "read",
        )
        for f in found
    ]
    return structs.replace(
        answer,
        findings=(*answer.findings, *told),
        texts=texts,
        elsewhere=frozenset(one.file for one in found),
    )
