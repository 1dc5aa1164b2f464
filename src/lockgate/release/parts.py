"""When a few files of many have changed: judge anew only those that have to do with them.

Every file leaves a trace: the entries of the model that it touched, and a few ties that rules over several files follow
by name. Files with a common entry belong together; a change can reach its own group and no other. The groups of the
changed files are judged anew, from an empty model. When they now touch what another group touched, that group joins them
and all is judged again, until nothing new is touched. What cannot be told apart is judged as a whole.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date

import msgspec

from lockgate.config import Settings
from lockgate.migrations.finding import Problem
from lockgate.policy.finding import Finding, StatementFacts
from lockgate.policy.rules.indexes_change import REFRESHED
from lockgate.policy.subject import File
from lockgate.postgres.tree import words as w
from lockgate.release.remembered import Mode, Task, Walked
from lockgate.release.walk import Walk, uncollected, with_fix

MOST = 0.5
"""From this share of all files on, judging the whole is as quick."""


class Entry(msgspec.Struct):
    """What is remembered of one file: its verdict, and what it touched."""

    file: str
    checksum: str
    parsed: bool
    # Its verdict in rules over several files hangs on which files stand beside it.
    positional: bool
    # Nothing can be told apart from it.
    everything: bool
    held: list[str]
    read: list[str]
    whole: list[str]
    problems: list[Problem]
    findings: list[Finding]
    statements: list[StatementFacts]
    # Findings of rules over several files.
    late: list[Finding] = []


class Parts(msgspec.Struct):
    """All files of a project, in order."""

    entries: list[Entry] = []


def divisible(settings: Settings, tasks: Sequence[Task]) -> bool:
    """Whether files may be judged apart: all are judged, and from an empty model."""
    return not settings.policy.judge_after and all(task.mode is Mode.JUDGE for task in tasks)


def judge_whole(settings: Settings, tasks: Sequence[Task], today: date) -> tuple[Walked, Parts]:
    """Judge all files, and note what each touched."""
    with uncollected():
        walk = Walk(settings, today, watch=True)
        entries = [_judged(walk, task, -1) for task in tasks]
        late = [*map(with_fix, walk.finish())]
        if not walk.plain_names:
            entries = [msgspec.structs.replace(entry, everything=True) for entry in entries]
    parts = Parts(entries)
    hand_out(parts, late)
    return put_together(parts), parts


def put_together(parts: Parts) -> Walked:
    """The answer that the entries make."""
    walked = Walked([], [], [])
    for entry in parts.entries:
        walked.problems += entry.problems
        walked.findings += entry.findings
        walked.statements += entry.statements
    for entry in parts.entries:
        walked.findings += entry.late
    return walked


def judge_changed(settings: Settings, tasks: Sequence[Task], today: date, before: Parts) -> Parts | None:
    """The new entries, from those of ``before``; None when the whole has to be judged."""
    old = {entry.file: entry for entry in before.entries}
    names = [task.migration.file for task in tasks]
    changed = {
        task.migration.file
        for task in tasks
        if task.migration.file not in old or old[task.migration.file].checksum != task.migration.checksum
    }
    lost = set(old) - set(names)
    if len(changed) + len(lost) > MOST * len(tasks) or any(entry.everything for entry in before.entries):
        return None
    groups = _Groups(before.entries)
    parsed = {entry.file: entry.parsed for entry in before.entries}
    again = changed | groups.of((changed | lost) & set(old))
    moved = bool(lost or changed - set(old))
    if moved:
        again |= _beside(before, names, groups)
    with uncollected():
        while True:
            again &= set(names)
            if len(again) > MOST * len(tasks):
                return None
            made, late, plain = judge_some(settings, tasks, today, parsed, again)
            if not plain or any(entry.everything for entry in made.values()):
                return None
            more = groups.touched(made.values()) - again - lost
            if not moved and any(
                old[name].parsed != entry.parsed for name, entry in made.items() if name in old
            ):
                moved = True
                more |= _beside(before, names, groups) - again
            if not more & set(names):
                break
            again |= more
    parts = Parts([made.get(name) or msgspec.structs.replace(old[name]) for name in names])
    for entry in made.values():
        entry.late = []
    hand_out(Parts(list(made.values())), late)
    return parts


def judge_some(
    settings: Settings, tasks: Sequence[Task], today: date, parsed: Mapping[str, bool], again: set[str]
) -> tuple[dict[str, Entry], list[Finding], bool]:
    """Judge the files called ``again`` from an empty model; ``parsed`` says which of the others can be read.

    Their entries without what rules over several files say, that, and whether made-up names are plain.
    """
    walk = Walk(settings, today, watch=True)
    made: dict[str, Entry] = {}
    place = 0
    for task in tasks:
        name = task.migration.file
        if name in again:
            made[name] = _judged(walk, task, place)
            place += made[name].parsed
        else:
            place += parsed[name]
    return made, [*map(with_fix, walk.finish(max(place - 1, 0)))], walk.plain_names


def _beside(before: Parts, names: Sequence[str], groups: "_Groups") -> set[str]:
    """The files whose verdict hangs on their place, and the newest files of then and now."""
    last = [entry.file for entry in before.entries if entry.parsed][-1:]
    placed = {entry.file for entry in before.entries if entry.positional} | set(last)
    newest = [entry.file for entry in before.entries if entry.file in set(names) and entry.parsed][-1:]
    return groups.of(placed | set(newest)) | {*names[-1:]}


def hand_out(parts: Parts, late: list[Finding]) -> None:
    """Give each finding of a rule over several files to the entry of its file."""
    by_file = {entry.file: entry for entry in parts.entries}
    for finding in late:
        by_file[finding.file].late.append(finding)


def _judged(walk: Walk, task: Task, place: int) -> Entry:
    problems, findings, statements = len(walk.problems), len(walk.findings), len(walk.statements)
    file = walk.judge(task.migration, place)
    trace = walk.trace()
    ties = set(_ties(file)) if file is not None else set()
    return Entry(
        task.migration.file,
        task.migration.checksum,
        file is not None,
        "place" in ties,
        "everything" in ties,
        sorted(trace.held | ties),
        sorted(trace.read),
        sorted(trace.whole),
        walk.problems[problems:],
        [*map(with_fix, walk.findings[findings:])],
        walk.statements[statements:],
        [],
    )


_RAISES = re.compile(r"\b(raise|assert)\b", re.IGNORECASE)


def _ties(file: File) -> Iterator[str]:
    """What rules over several files follow besides the model: names without a schema, and acts on everything."""
    for judged in file.judged:
        word = judged.statement
        yield from (f"relations name {name.name}" for name in _names(word))
        if isinstance(word, w.CreateFunction):
            yield f"relations function {word.name.name}"
        elif isinstance(word, w.CreateTrigger):
            yield f"relations function {word.function.name}" if word.function else "relations function"
        elif isinstance(word, w.CreateIndex):
            yield f"relations index {word.name}"
        elif isinstance(word, w.Drop) and word.kind == "index":
            yield "place"
            yield from (f"relations index {name.name}" for name in word.names)
        elif isinstance(word, w.Reindex):
            yield "relations collation"
        elif isinstance(word, w.Utility) and word.kind in REFRESHED:
            yield "place"
            yield "relations collation"
        elif (isinstance(word, w.Vacuum) and not word.names) or (
            isinstance(word, w.DoBlock) and _RAISES.search(word.body)
        ):
            yield "everything"


def _names(word: w.Statement) -> Iterator[w.Name]:
    """The relations that a statement names, whether the model knows them or not."""
    for field in ("name", "table", "target"):
        name = getattr(word, field, None)
        if isinstance(name, w.Name):
            yield name
    names = getattr(word, "names", ())
    yield from (name for name in names if isinstance(name, w.Name))
    query = getattr(word, "query", None)
    if isinstance(query, w.Query):
        yield from (access.name for access in query.accesses)
    for action in word.actions if isinstance(word, w.AlterTable) else ():
        if isinstance(action, w.AddConstraint) and action.constraint.references is not None:
            yield action.constraint.references


def touch(some: list[Entry], others: Iterable[Entry]) -> bool:
    """Whether any of ``others`` has to do with any of ``some``."""
    return bool(_Groups(some).touched(others))


class _Groups:
    """Which files belong together, by what they touched."""

    def __init__(self, entries: list[Entry]) -> None:
        self._parent: dict[str, str] = {}
        self._entries = entries
        # Entry of the model, or a whole table, → the files that may have changed it.
        self._holders: dict[str, list[str]] = {}
        for entry in entries:
            for key in (*entry.held, *_tables(entry)):
                self._holders.setdefault(key, []).append(entry.file)
        for key, files in self._holders.items():
            if " " in key:
                for file in files[1:]:
                    self._join(files[0], file)
        for entry in entries:
            for key in (*entry.read, *entry.whole):
                for file in self._holders.get(key, ())[: None if " " not in key else 1]:
                    self._join(entry.file, file)

    def _root(self, one: str) -> str:
        parent = self._parent.setdefault(one, one)
        while parent != one:
            above = self._parent[parent]
            self._parent[one] = above
            one, parent = parent, above
        return one

    def _join(self, one: str, other: str) -> None:
        self._parent[self._root(one)] = self._root(other)

    def of(self, files: set[str]) -> set[str]:
        """All files that belong to these."""
        roots = {self._root(name) for name in files}
        return {entry.file for entry in self._entries if self._root(entry.file) in roots}

    def touched(self, entries: Iterable[Entry]) -> set[str]:
        """The files whose groups these entries touch."""
        found: set[str] = set()
        held: set[str] = set()
        whole: set[str] = set()
        for entry in entries:
            held.update(entry.held, _tables(entry))
            whole.update(entry.whole)
            for key in (*entry.held, *entry.read, *entry.whole):
                found.update(self._holders.get(key, ()))
        for entry in self._entries:
            if not held.isdisjoint(entry.read) or not held.isdisjoint(entry.whole):
                found.add(entry.file)
        return self.of(found)


def _tables(entry: Entry) -> set[str]:
    """The tables of the model in which the file may have changed something."""
    return {key.partition(" ")[0] for key in entry.held}
