"""The policy's judge and the file contract, side by side, over the files of a project from the oldest to the newest."""

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date

from msgspec import structs

from lockgate.config import Settings
from lockgate.config.policy import Policy
from lockgate.migrations.directives import DirectiveError, Directives, parse
from lockgate.migrations.files import Migration
from lockgate.migrations.finding import Problem
from lockgate.policy.facts import Server
from lockgate.policy.finding import Finding, StatementFacts
from lockgate.policy.judge import Judge, Judgement, Source
from lockgate.policy.model.environment import UNKNOWN, Environment
from lockgate.policy.model.snapshot import Snapshot
from lockgate.policy.model.watched import Trace, take, watched
from lockgate.policy.registry import HAZARDS
from lockgate.policy.subject import File, Options
from lockgate.postgres.tree import SyntaxProblem, statements_of
from lockgate.release.plain import LONGEST_TEXT, plain
from lockgate.release.remembered import Mode, Task, Walked

TWINS = {
    "tx-nesting": "FILE_TRANSACTION_CONTROL",
    "idx-concurrently-in-tx": "FILE_NEEDS_TRANSACTION_OFF",
    "enum-use-in-same-tx": "FILE_ENUM_USE",
    "idx-name-required": "FILE_SYNTAX",
}
"""Hazard → reason code of the contract that says the same; where both are found in a file, the contract speaks."""


def with_fix(finding: Finding) -> Finding:
    """A finding never comes without what to do: where the rule has no SQL for it, the hazard's own way."""
    return finding if finding.fix else structs.replace(finding, fix=HAZARDS[finding.id].workaround)


def options_of(policy: Policy, server: Server | None = None, environment: Environment = UNKNOWN) -> Options:
    """The settings of the policy as the judge takes them; a live server and a snapshot know better than they."""
    return Options(
        server=server or Server(version=policy.server_version),
        profile=policy.profile,
        small_rows=policy.small_rows,
        big_rows=policy.big_rows,
        big_bytes=policy.big_bytes,
        row_limit=policy.row_limit,
        forbidden=policy.forbidden_statements,
        forbidden_types=policy.forbidden_types,
        required_columns=policy.required_columns,
        environment=environment,
    )


def walk_all(
    settings: Settings, tasks: Iterable[Task], today: date, snapshot: Snapshot | None = None
) -> Walked:
    """Do the ``tasks`` in order: what contract and policy say."""
    with uncollected():
        return _walk_all(Walk(settings, today, snapshot), tasks)


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the collector of cycles: a walk makes many objects, nearly all of them stay, and none is a cycle."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _walk_all(walk: "Walk", tasks: Iterable[Task]) -> Walked:
    for task in tasks:
        if task.mode is Mode.JUDGE:
            walk.judge(task.migration)
        else:
            if task.mode is Mode.CONTRACT:
                walk.contract(task.migration)
            walk.learn(task.migration)
    findings = [*walk.findings, *walk.finish()]
    return Walked(walk.problems, [*map(with_fix, findings)], walk.statements)


class Walk:
    """The policy's judge and the contract, side by side.

    ``server`` says what the files run on where the settings do not know it; ``contract`` False leaves the contract
    out, for files that are known to keep it.
    """

    def __init__(
        self,
        settings: Settings,
        today: date,
        snapshot: Snapshot | None = None,
        *,
        server: Server | None = None,
        contract: bool = True,
        watch: bool = False,
    ) -> None:
        self.limits = settings.migrations
        self.problems: list[Problem] = []
        self.findings: list[Finding] = []
        self.statements: list[StatementFacts] = []
        self._contract = contract
        self._applied = "" if snapshot is None else snapshot.schema_rev
        self._after = settings.policy.judge_after
        if snapshot is None:
            options = options_of(settings.policy, server)
            schema = watched(options.server.version) if watch else None
            self._judge = Judge(options, today=today, schema=schema)
        else:
            server = Server(version=snapshot.server_version, role=snapshot.environment.role)
            options = options_of(settings.policy, server, snapshot.environment)
            self._judge = Judge(options, today=today, schema=snapshot.schema)

    @property
    def plain_names(self) -> bool:
        """Whether made-up names could be worked out from their own table alone."""
        return self._judge.schema.plain_names

    def trace(self) -> Trace:
        """What was touched in the watched model since the last call."""
        return take(self._judge.schema)

    def learn(self, migration: Migration) -> None:
        """Only learn what the file builds."""
        if migration.revision > self._applied:
            self._judge.replay(migration.up)

    def contract(self, migration: Migration) -> list[Problem]:
        """Judge the file by the contract alone."""
        if not self._contract:
            return []
        from lockgate.migrations.contract import prepare  # loads the parser's protobuf classes

        _, found = prepare(migration, self.limits)
        self.problems += found
        return found

    def judge(self, migration: Migration, place: int = -1) -> File | None:
        """Judge the file by contract and policy. The file as the policy has read it; None where it could not be read.

        ``place`` is its place among all files that can be read, when only some are judged.
        """
        if migration.revision <= self._applied:
            self.contract(migration)
            return None
        if migration.revision <= self._after:
            self.contract(migration)
            self.learn(migration)
            return None
        up = migration.up
        try:
            directives, malformed = parse(up), False
        except DirectiveError:
            directives, malformed = Directives(), True
        if len(up) > LONGEST_TEXT and any(p.id == "FILE_SIZE" for p in self.contract(migration)):
            return None  # what would overflow the parser is not given to it
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
        judgement = self._judge.judge(source, place)
        parsed = len(self._judge.files) > before
        self.statements += judgement.statements
        if len(up) > LONGEST_TEXT:
            broken = [p for p in self.problems if p.file == migration.file]
        elif not self._contract or (not malformed and parsed and self._plain(migration, up, directives)):
            broken = []
        else:
            broken = self.contract(migration)
        if not malformed and (parsed or not broken):
            self.findings += _without_twins(judgement, broken)
        return self._judge.files[-1] if parsed else None

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

    def finish(self, last: int = -1) -> list[Finding]:
        """What can only be said of all files together; ``last`` is the place of the newest."""
        return self._judge.finish(last)


def _without_twins(judgement: Judgement, broken: Iterable[Problem]) -> list[Finding]:
    said = {problem.id for problem in broken}
    return [finding for finding in judgement.findings if TWINS.get(finding.id) not in said]
