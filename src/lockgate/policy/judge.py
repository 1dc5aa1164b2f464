"""Files in order, each statement against the model of all before it: facts, findings, suppressions."""

from datetime import date

from msgspec import Struct, structs

from lockgate.policy import rules  # noqa: F401 - fills the registry
from lockgate.policy.facts import Course, Facts, facts_of
from lockgate.policy.finding import Finding, StatementFacts
from lockgate.policy.hazard import ERROR, WARNING, Hazard
from lockgate.policy.judging import Tree
from lockgate.policy.model.environment import UNKNOWN
from lockgate.policy.model.replay import replay
from lockgate.policy.model.schema import Schema
from lockgate.policy.phase import CONTRACT, DIRECTIVE, EXPAND, takes_away
from lockgate.policy.registry import (
    HAZARDS,
    NEED_ENVIRONMENT,
    ON_ACTION,
    ON_EVERY,
    ON_FILE,
    ON_STATEMENT,
    ON_TREE,
    Check,
)
from lockgate.policy.subject import ALLOWED, EARLY_STAGE, File, Hit, Judged, Options, Subject
from lockgate.policy.suppression import Suppression, suppressions_of
from lockgate.postgres.tree import SyntaxProblem, statements_of
from lockgate.postgres.tree import words as w


class Source(Struct, frozen=True):
    """A migration file as plain values: its text and what its directives say."""

    name: str
    text: str
    # "", "expand" or "contract"
    phase: str = ""
    transactional: bool = True
    # The down section, which is not in ``text``.
    down: str = ""
    # ``after=move:…``: the moves that must be reconciled first.
    after: tuple[str, ...] = ()


class Judgement(Struct):
    """What the policy says of one file."""

    file: str
    # The phase that its statements belong to.
    phase: str
    findings: list[Finding]
    statements: list[StatementFacts]


class Judge:
    """Walks files in order. ``replay`` only learns from a file; ``judge`` also says what is wrong with it."""

    def __init__(self, options: Options | None = None, *, today: date, schema: Schema | None = None) -> None:
        self.options = options or Options()
        self.schema = schema or Schema(version=self.options.server.version)
        self.today = today
        self.files: list[File] = []
        self._allowances: list[tuple[File, Suppression]] = []
        self._count = 0
        # Statement kind → the rules that look at it, made as kinds turn up.
        self._asked: dict[type, list[tuple[Hazard, Check]]] = {}
        self._per_file = self._known(ON_FILE)

    def replay(self, text: str) -> None:
        """Learn what ``text`` builds, without judging it. What does not parse teaches nothing."""
        number, self._count = self._count, self._count + 1
        try:
            located = statements_of(text)
        except SyntaxProblem:
            return
        self._open()
        for item in located:
            replay(self.schema, item.statement, number)

    def _open(self) -> None:
        """Each file starts on a fresh session: settings of the file before are gone."""
        self.schema.search_path = ["public"]
        self.schema.time_zone = "UTC"

    def judge(self, source: Source, place: int = -1) -> Judgement:
        """Judge one file and learn from it. ``place`` is that among all files that can be read, by default the next."""
        number, self._count = self._count, self._count + 1
        file = File(
            source.name, number, source.phase, source.transactional,
            text=source.text, down=source.down, after=source.after,
            place=len(self.files) if place < 0 else place,
        )  # fmt: skip
        try:
            located = statements_of(source.text)
        except SyntaxProblem as problem:
            return self._unparsed(source, problem)
        self._open()
        self.files.append(file)
        file.total = len(located)
        findings: list[Finding] = []
        shown: list[StatementFacts] = []
        taken: list[tuple[int, str]] = []
        for item in located:
            inside = _Inside(self, file, item.line)
            file.start, file.end = item.start, item.end
            course = Course(number, inside.look)
            facts = facts_of(item.statement, self.schema, self.options.server, course=course)
            away = takes_away(item.statement, facts, self.schema, number)
            if away:
                taken.append((item.line, away))
            taken += [(item.line, told) for told in inside.taken]
            subject = Subject(item.statement, facts, item.line, file, self.schema, self.options)
            own: list[Finding] = []
            self.apply_rules(subject, away or "".join(inside.taken[:1]), own)
            findings += own
            findings += inside.beside(own)
            replay(self.schema, item.statement, number)
            file.judged.append(Judged(item.statement, facts, item.line))
            shown.append(_shown(source.name, item.line, facts))
        phase = CONTRACT if taken else EXPAND
        alone = Tree([file], self.schema, self.options)
        for row, check in self._per_file:
            if (file.declared or phase) in row.phases:
                findings.extend(self._finding(row, hit, file, hit.line or 1, phase) for hit in check(alone))
        if source.phase == EXPAND and taken:
            findings.extend(_misplaced(source.name, taken, self.options))
        listed = suppressions_of(source.text, [item.line for item in located])
        if listed:
            findings = self._suppress(findings, listed, file)
        return Judgement(source.name, phase, findings, shown)

    def finish(self, last: int = -1) -> list[Finding]:
        """What can only be said when all files are known. ``last`` is the place of the newest one."""
        findings: list[Finding] = []
        self._open()
        tree = Tree(self.files, self.schema, self.options, last)
        for row, check in ON_TREE:
            for file, hit in check(tree):
                if not file.declared or file.declared in row.phases:
                    findings.append(self._finding(row, hit, file, hit.line or 1, file.declared or EXPAND))
        for file, item in self._allowances:
            covered = [found for found in findings if found.file == file.name and _covers(item, found)]
            if not covered:
                findings.append(_useless(item, file))
            findings = [found for found in findings if found not in covered]
        return findings

    def apply_rules(self, subject: Subject, away: str, findings: list[Finding]) -> None:
        """Judge one statement."""
        statement = subject.statement
        kind = type(statement)
        asked = self._asked.get(kind)
        if asked is None:
            asked = self._asked[kind] = self._known([*ON_STATEMENT.get(kind, ()), *ON_EVERY])
        phase = CONTRACT if away else EXPAND
        for row, check in asked:
            for hit in check(subject):
                self._note(findings, row, hit, subject, phase)
        if kind is w.AlterTable:
            assert isinstance(statement, w.AlterTable)
            for action in statement.actions:
                subject.action = action
                for row, check in ON_ACTION.get(type(action), ()):
                    for hit in check(subject):
                        self._note(findings, row, hit, subject, phase)

    def _known(self, entries: list[tuple[Hazard, Check]]) -> list[tuple[Hazard, Check]]:
        """The rules that have something to look at."""
        if self.options.environment != UNKNOWN:
            return entries
        return [(row, check) for row, check in entries if row.id not in NEED_ENVIRONMENT]

    def _note(self, findings: list[Finding], row: Hazard, hit: Hit, subject: Subject, phase: str) -> None:
        file = subject.file
        if (file.declared or phase) in row.phases:
            findings.append(self._finding(row, hit, file, hit.line or subject.line, phase, subject))

    def _finding(
        self, row: Hazard, hit: Hit, file: File, line: int, phase: str, subject: Subject | None = None
    ) -> Finding:
        severity = hit.severity or row.severity
        if not hit.severity and row.contract_severity and file.declared == CONTRACT:
            severity = row.contract_severity
        evidence = "read"
        if subject is not None:
            if row.by_size and hit.relation and subject.small(hit.relation):
                severity = "info"
                evidence = f"read; snapshot: {hit.relation} has about {subject.rows(hit.relation)} rows"
            locks = ", ".join(f"{key} {mode.name}" for key, mode in subject.facts.locks.items())
            if locks:
                evidence += f"; locks: {locks}"
            if subject.facts.rewrites:
                evidence += f"; rewrites: {', '.join(subject.facts.rewrites)}"
        if severity == ERROR and row.destructive and self.options.profile == EARLY_STAGE:
            severity = WARNING
            evidence += ALLOWED
        number = -1 if subject is None else len(file.judged)
        fix = _in_contract(hit.fix) if file.declared == CONTRACT else hit.fix
        return Finding(row.id, file.name, line, severity, phase, hit.message, fix, evidence, number)

    def _suppress(self, findings: list[Finding], listed: list[Suppression], file: File) -> list[Finding]:
        """Take away what a valid allowance covers; report those that do not count or hide nothing."""
        kept = findings
        reports: list[Finding] = []
        for item in listed:
            problem = item.problem(self.today, HAZARDS)
            if problem is not None:
                reports.append(_report(problem[0], problem[1], file, item.line))
                continue
            if any(row.id == item.hazard for row, _ in ON_TREE):
                self._allowances.append((file, item))
                continue
            covered = [finding for finding in kept if _covers(item, finding)]
            if not covered:
                reports.append(_useless(item, file))
            kept = [finding for finding in kept if finding not in covered]
            if HAZARDS[item.hazard].lowered:
                reports += [_lowered(finding, item) for finding in covered]
        return kept + reports

    def _unparsed(self, source: Source, problem: SyntaxProblem) -> Judgement:
        line = source.text.encode("utf-8", "surrogatepass").count(b"\n", 0, max(problem.offset, 0)) + 1
        finding = Finding(
            "not-understood",
            source.name,
            line,
            "error",
            EXPAND,
            f"PostgreSQL cannot parse this: {problem.message}",
        )
        return Judgement(source.name, source.phase or EXPAND, [finding], [])


def _in_contract(fix: str) -> str:
    """What is left to do in a file that is contract already: nothing, where the fix was that and the statement itself."""
    if not fix.startswith(DIRECTIVE):
        return fix
    rest = fix.removeprefix(DIRECTIVE)
    return rest if "\n" in rest else ""


_OF_EVERY = frozenset(row.id for row, _ in ON_EVERY) - {"rep-forbidden-statements"} | {"do-block-hidden-ddl"}
"""What is said once, of the statement around."""


class _Inside:
    """What bodies run inside one statement, judged as if it stood in the file."""

    def __init__(self, judge: Judge, file: File, line: int) -> None:
        self.judge, self.file, self.line = judge, file, line
        self.taken: list[str] = []
        self._found: list[Finding] = []

    def look(self, where: str, statement: w.Statement, facts: Facts, schema: Schema) -> None:
        """Ask the rules and the phase about a step of ``where``."""
        if isinstance(statement, w.Dml) and statement.kind == "select":
            return  # what its functions do is a step of theirs
        away = takes_away(statement, facts, schema, self.file.number)
        if away and f"{away} in {where}" not in self.taken:
            self.taken.append(f"{away} in {where}")
        found: list[Finding] = []
        subject = Subject(statement, facts, self.line, self.file, schema, self.judge.options)
        self.judge.apply_rules(subject, away, found)
        for one in found:
            told = structs.replace(one, message=f"{where}: {one.message}", fix="")
            if one.id not in _OF_EVERY and told not in self._found:
                self._found.append(told)

    def beside(self, own: list[Finding]) -> list[Finding]:
        """The findings of the steps that those of the statement itself do not say already."""
        said = {(one.id, one.message) for one in own}
        return [one for one in self._found if (one.id, one.message) not in said]


def _covers(item: Suppression, finding: Finding) -> bool:
    same = finding.line == item.covers and finding.id == item.hazard
    return same and item.statement in (-1, finding.statement) and HAZARDS[finding.id].suppressible


def _lowered(finding: Finding, item: Suppression) -> Finding:
    told = f"{finding.message}; allowed until {item.until}: {item.reason}"
    return structs.replace(finding, severity=WARNING, message=told)


def _useless(item: Suppression, file: File) -> Finding:
    return _report("suppression-useless", f"allow={item.hazard} hides nothing here", file, item.line)


def _report(id: str, message: str, file: File, line: int) -> Finding:
    row = HAZARDS[id]
    return Finding(
        id, file.name, line, row.severity, file.declared or EXPAND, message, row.workaround, "read"
    )


def _misplaced(name: str, taken: list[tuple[int, str]], options: Options) -> list[Finding]:
    row = HAZARDS["phase-contract-in-expand"]
    early = options.profile == EARLY_STAGE
    severity, evidence = (WARNING, "read" + ALLOWED) if early else (row.severity, "read")
    return [
        Finding(
            row.id, name, line, severity, CONTRACT,
            f"{what} takes something from the release that is still running, and this file declares phase=expand",
            row.workaround, evidence,
        )
        for line, what in taken
    ]  # fmt: skip


_MODES = {mode: mode.name for mode in w.LockMode}


def _shown(name: str, line: int, facts: Facts) -> StatementFacts:
    locks = {key: _MODES[mode] for key, mode in facts.locks.items()}
    return StatementFacts(
        name, line, facts.kind, facts.understood, facts.transactional, locks, facts.rewrites, facts.scans,
        facts.opaque, facts.visible, facts.reversible,
    )  # fmt: skip
