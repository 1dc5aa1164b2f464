"""What is wrong with a project's files: the file contract and the policy, in one walk from the oldest to the newest."""

from collections.abc import Iterable
from datetime import date

from msgspec import Struct, structs

from lockgate.config import Settings
from lockgate.migrations.directives import DirectiveError, Directives, parse
from lockgate.migrations.files import Migration
from lockgate.migrations.finding import Problem
from lockgate.migrations.immutable import compare_with, files_at
from lockgate.policy.facts import Server
from lockgate.policy.finding import Finding, StatementFacts
from lockgate.policy.judge import Judge, Judgement, Source
from lockgate.policy.model.snapshot import Snapshot
from lockgate.policy.registry import HAZARDS
from lockgate.policy.subject import Options
from lockgate.postgres.tree import SyntaxProblem, statements_of
from lockgate.release.plain import LONGEST_TEXT, plain
from lockgate.release.project import read_files

TWINS = {
    "tx-nesting": "FILE_TRANSACTION_CONTROL",
    "idx-concurrently-in-tx": "FILE_NEEDS_TRANSACTION_OFF",
    "enum-use-in-same-tx": "FILE_ENUM_USE",
    "idx-name-required": "FILE_SYNTAX",
}
"""Hazard → reason code of the contract that says the same; where both are found in a file, the contract speaks."""


class Review(Struct, frozen=True):
    """The answer: findings by file and line, the facts of each judged statement, and the texts that were read."""

    files: int
    findings: tuple[Finding, ...]
    statements: tuple[StatementFacts, ...]
    texts: dict[str, str]


def review(
    settings: Settings, *, today: date, since: str | None = None, snapshot: Snapshot | None = None
) -> Review:
    """Judge every file of the project.

    With ``since`` what git has at that revision is only learnt from, and refused where it was changed. With
    ``snapshot`` the files up to its revision keep the contract but are not judged: they are in it already.
    """
    directory = settings.path(settings.migrations.directory)
    files = read_files(settings)
    problems = list(files.problems)
    old: dict[str, bytes] = {}
    if since is not None:
        old = files_at(directory, since)
        problems += compare_with(directory, since, old)
    walk = _Walk(settings, today, snapshot)
    for migration in files.migrations:
        if migration.file not in old:
            walk.judge(migration)
        elif migration.text.encode() == old[migration.file]:
            walk.learn(migration)
        else:
            walk.contract(migration)
            walk.learn(migration)
    judged = map(_with_fix, [*walk.findings, *walk.finish()])
    findings = [*map(finding_of, [*problems, *walk.problems]), *judged]
    findings.sort(key=lambda f: (f.file, f.line))
    return Review(
        len(files.migrations),
        tuple(findings),
        tuple(walk.statements),
        {migration.file: migration.text for migration in files.migrations},
    )


def finding_of(problem: Problem) -> Finding:
    """A breach of the file contract as a finding; it belongs to no phase."""
    return Finding(
        problem.id, problem.file, problem.line, problem.severity, "", problem.message, problem.fix, "read"
    )


def _with_fix(finding: Finding) -> Finding:
    """A finding never comes without what to do: where the rule has no SQL for it, the hazard's own way."""
    return finding if finding.fix else structs.replace(finding, fix=HAZARDS[finding.id].workaround)


class _Walk:
    """The policy's judge and the contract, side by side."""

    def __init__(self, settings: Settings, today: date, snapshot: Snapshot | None) -> None:
        self.limits = settings.migrations
        self.problems: list[Problem] = []
        self.findings: list[Finding] = []
        self.statements: list[StatementFacts] = []
        self._applied = "" if snapshot is None else snapshot.schema_rev
        if snapshot is None:
            self._judge = Judge(today=today)
        else:
            server = Server(version=snapshot.server_version, role=snapshot.environment.role)
            options = Options(server=server, environment=snapshot.environment)
            self._judge = Judge(options, today=today, schema=snapshot.schema)

    def learn(self, migration: Migration) -> None:
        """Only learn what the file builds."""
        if migration.revision > self._applied:
            self._judge.replay(migration.up)

    def contract(self, migration: Migration) -> list[Problem]:
        """Judge the file by the contract alone."""
        from lockgate.migrations.contract import prepare  # loads the parser's protobuf classes

        _, found = prepare(migration, self.limits)
        self.problems += found
        return found

    def judge(self, migration: Migration) -> None:
        """Judge the file by contract and policy."""
        if migration.revision <= self._applied:
            self.contract(migration)
            return
        up = migration.up
        try:
            directives, malformed = parse(up), False
        except DirectiveError:
            directives, malformed = Directives(), True
        if len(up) > LONGEST_TEXT and any(p.id == "FILE_SIZE" for p in self.contract(migration)):
            return  # what would overflow the parser is not given to it
        before = len(self._judge.files)
        phase = directives.phase if directives.phase_given else ""
        source = Source(
            migration.file,
            up,
            phase,
            directives.transaction,
            down=migration.down or "",
            after=directives.after,
        )
        judgement = self._judge.judge(source)
        parsed = len(self._judge.files) > before
        self.statements += judgement.statements
        if len(up) > LONGEST_TEXT:
            broken = [p for p in self.problems if p.file == migration.file]
        elif not malformed and parsed and self._plain(migration, up, directives):
            broken = []
        else:
            broken = self.contract(migration)
        if not malformed and (parsed or not broken):
            self.findings += _without_twins(judgement, broken)

    def _plain(self, migration: Migration, up: str, directives: Directives) -> bool:
        down = migration.down
        sections = [(up, [item.statement for item in self._judge.files[-1].judged])]
        if down is not None:
            try:
                sections.append((down, [item.statement for item in statements_of(down)]))
            except SyntaxProblem:
                return False
        return all(
            plain(text, words, transactional=directives.transaction, most=self.limits.max_statements)
            for text, words in sections
        )

    def finish(self) -> list[Finding]:
        """What can only be said of all files together."""
        return self._judge.finish()


def _without_twins(judgement: Judgement, broken: Iterable[Problem]) -> list[Finding]:
    said = {problem.id for problem in broken}
    return [finding for finding in judgement.findings if TWINS.get(finding.id) not in said]
