"""A whole project on two processors: files that have nothing to do with each other are judged in two processes.

Which files go together is guessed from the names in their texts. What they really touched (``parts.py``) then says
whether the guess was right; where it was not, there is no answer, and the whole is judged by one.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import date

import msgspec

from lockgate.config import Settings
from lockgate.policy.finding import Finding
from lockgate.release.beside import Beside, worth_it
from lockgate.release.parts import Entry, Parts, hand_out, judge_some, touch
from lockgate.release.remembered import Task

LEAST = 0.2
"""Share of the text below which the smaller half is not worth a process of its own."""
_WORDS = re.compile(r"""[\w$.]+|"[^"]*"[.\w$"]*""")
_BEFORE = frozenset(
    [
        "table",
        "view",
        "sequence",
        "index",
        "type",
        "domain",
        "function",
        "procedure",
        "aggregate",
        "routine",
        "schema",
        "extension",
        "policy",
        "rule",
        "publication",
        "statistics",
        "collation",
        "into",
        "from",
        "join",
        "update",
        "using",
        "references",
        "inherits",
        "of",
        "on",
    ]
)
"""Words in front of the names of relations, types and functions."""
_BETWEEN = frozenset(
    [
        "if",
        "not",
        "exists",
        "concurrently",
        "only",
        "lateral",
        "each",
        "row",
        "is",
        "as",
        "delete",
        "set",
        "conflict",
        "constraint",
        "select",
        "all",
        "tables",
        "in",
        "cascade",
        "no",
        "null",
        "action",
        "restrict",
        "materialized",
        "column",
        "values",
        "default",
        "do",
        "nothing",
    ]
)
"""Words that may stand between those and the name, or are none."""


class Half(msgspec.Struct):
    """What judging some of the files said."""

    entries: list[Entry]
    late: list[Finding]
    # Whether made-up names could be worked out from their own table alone.
    plain: bool


def judge_in_halves(settings: Settings, tasks: Sequence[Task], today: date) -> Parts | None:
    """The entries of all files, from two processes; None where the project cannot be divided, or is not worth it."""
    if not worth_it(len(tasks)):
        return None
    theirs = divide(tasks)
    if not theirs:
        return None
    there = Beside(lambda: judge_half(settings, tasks, today, theirs), Half)
    try:
        here = judge_half(settings, tasks, today, {task.migration.file for task in tasks} - theirs)
        other = there.result()
    finally:
        there.close()
    return None if other is None else join(tasks, here, other)


def judge_half(settings: Settings, tasks: Sequence[Task], today: date, names: set[str]) -> Half:
    """Judge the files called ``names``, as if all others could be read and had nothing to do with them."""
    others = {task.migration.file: True for task in tasks}
    made, late, plain = judge_some(settings, tasks, today, others, names)
    return Half(list(made.values()), late, plain)


def join(tasks: Sequence[Task], here: Half, there: Half) -> Parts | None:
    """The entries of both halves in the order of the files; None when one can have had to do with the other."""
    entries = [*here.entries, *there.entries]
    if not (here.plain and there.plain) or any(entry.everything or not entry.parsed for entry in entries):
        return None
    if touch(here.entries, there.entries):
        return None
    by_file = {entry.file: entry for entry in entries}
    parts = Parts([by_file[task.migration.file] for task in tasks])
    hand_out(parts, [*here.late, *there.late])
    return parts


def divide(tasks: Sequence[Task]) -> set[str]:
    """The files of the smaller half, when the names in the texts fall apart into two; else none."""
    parent = list(range(len(tasks)))

    def root(one: int) -> int:
        while parent[one] != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        return one

    first: dict[str, int] = {}
    for number, task in enumerate(tasks):
        for name in set(_names(task.migration.text)):
            parent[root(number)] = root(first.setdefault(name, number))
    groups: dict[int, list[int]] = {}
    for number in range(len(tasks)):
        groups.setdefault(root(number), []).append(number)
    sizes = {key: sum(len(tasks[n].migration.text) for n in group) for key, group in groups.items()}
    halves: list[tuple[int, list[int]]] = [(0, []), (0, [])]
    for key in sorted(groups, key=lambda one: -sizes[one]):
        halves.sort(key=lambda half: half[0])
        halves[0] = (halves[0][0] + sizes[key], [*halves[0][1], *groups[key]])
    size, smaller = min(halves, key=lambda half: half[0])
    return {tasks[n].migration.file for n in smaller} if size >= LEAST * sum(sizes.values()) else set()


def _names(text: str) -> Iterator[str]:
    """What is named in a file, as far as its words tell. It may take too much or too little: it only guesses."""
    expected = column = False
    for word in _WORDS.findall(text.lower()):
        if word in _BEFORE:
            expected, column = True, False
        elif not expected:
            continue
        elif word not in _BETWEEN:
            # Of ``a.b`` the relation is the last word, and that before it where a column is meant.
            parts = word.split(".")
            yield parts[-2] if column and len(parts) > 1 else parts[-1]
            expected = False
        elif word == "column":
            column = True
