"""YAML as located paths, read line by line: enough for manifests, and not disturbed by Helm's templates.

Each scalar becomes ``Entry(path, value, line)``; a list item is ``[n]`` in the path. Lines that are template
actions alone (``{{- if … }}``) are left out, those with a template inside a value keep it as text.
"""

import re
from typing import NamedTuple


class Entry(NamedTuple):
    """One scalar."""

    path: tuple[str, ...]
    value: str
    line: int


_KEY = re.compile(
    r"""^(?P<key>"[^"]*"|'[^']*'|[^\s'"\[\]{},#&*!|>%@`-][^:#]*?|-[^\s:][^:]*?)\s*:(?:\s+|$)(?P<rest>.*)$"""
)
_BLOCK = re.compile(r"^[|>][-+0-9]*\s*$")
_TEMPLATE = re.compile(r"^\{\{.*\}\}$")
_MARKS = re.compile(r"(?:[&!]\S+\s*)+")
_ALIAS = re.compile(r"\*([^\s,\[\]{}]+)")
_MOST = 100_000
_COMMENT = re.compile(r"(?:^|\s)#.*$")


def documents(text: str) -> list[list[Entry]]:
    """The documents of a YAML file."""
    found: list[list[Entry]] = []
    lines = text.split("\n")
    start = 0
    for number, line in enumerate([*lines, "---"]):
        if line.startswith("---"):
            entries = _Reader(lines[start:number], start).read()
            if entries:
                found.append(entries)
            start = number + 1
    return found


class _Reader:
    def __init__(self, lines: list[str], offset: int) -> None:
        self.lines, self.offset, self.at = lines, offset, 0
        self.stack: list[tuple[int, str]] = []
        self.counts: dict[tuple[str, ...], int] = {}
        self.found: list[Entry] = []
        self.anchors: dict[str, tuple[str, ...]] = {}

    def read(self) -> list[Entry]:
        while self.at < len(self.lines):
            line = self.lines[self.at].replace("\t", "    ").rstrip()
            text = line.strip()
            self.at += 1
            if text and not text.startswith("#") and not _TEMPLATE.match(text):
                self._line(len(line) - len(line.lstrip()), text)
        return _followed(self.found, self.anchors) if self.anchors else self.found

    def _line(self, indent: int, text: str) -> None:
        while text == "-" or text.startswith("- "):
            while self.stack and (
                self.stack[-1][0] > indent or (self.stack[-1][0] == indent and self.stack[-1][1][0] == "[")
            ):
                self.stack.pop()
            parent = self._path()
            number = self.counts.get(parent, 0)
            self.counts[parent] = number + 1
            self.stack.append((indent, f"[{number}]"))
            rest = text[1:].lstrip()
            indent += len(text) - len(rest)
            text = rest
        match = _KEY.match(text) if text else None
        if match is None:
            if text:
                self._value(indent, text)
            return
        while self.stack and self.stack[-1][0] >= indent:
            self.stack.pop()
        self.stack.append((indent, match["key"].strip("\"'")))
        self._value(indent, match["rest"].strip())

    def _path(self) -> tuple[str, ...]:
        return tuple([name for _, name in self.stack])

    def _value(self, indent: int, text: str) -> None:
        line = self.offset + self.at
        marks = _MARKS.match(text)
        if marks is not None:
            self.anchors.update((mark[1:], self._path()) for mark in marks[0].split() if mark[0] == "&")
            text = text[marks.end() :]
        if _BLOCK.match(_COMMENT.sub("", text).strip()):
            outer = self.stack[-1][0] if self.stack else -1
            text = self._block(outer)
            line += 1
        elif text[:1] in "[\"'" and text:
            text = self._flow(text)
        else:
            text = _COMMENT.sub("", text).strip()
        if text and self.stack:
            self.found.append(Entry(self._path(), text.strip("\"'") if text[:1] != "[" else text, line))

    def _block(self, indent: int) -> str:
        taken = []
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if line.strip() and len(line) - len(line.lstrip()) <= indent:
                break
            taken.append(line)
            self.at += 1
        return "\n".join(line.strip() for line in taken)

    def _flow(self, text: str) -> str:
        """A list in brackets or a quoted text that may go on over lines."""
        first = text[0]
        for _ in range(50):
            closed = (
                text.count("[") <= text.count("]")
                if first == "["
                else len(text) > 1 and text.count(first) % 2 == 0
            )
            if closed or self.at >= len(self.lines):
                break
            text += " " + self.lines[self.at].strip()
            self.at += 1
        return text


def _followed(entries: list[Entry], anchors: dict[str, tuple[str, ...]]) -> list[Entry]:
    """``entries`` with what aliases (``*name``) and merge keys (``<<``) stand for, on the lines where that is written."""
    found: list[Entry] = []
    for entry in entries:
        path = entry.path
        merge = path.index("<<") if "<<" in path else -1
        if not _ALIAS.match(entry.value.lstrip("[ ")) or len(found) > _MOST:
            found.append(entry)
            continue
        here = path if merge < 0 else path[:merge]
        # What the mapping says itself, and what an earlier merge brought, goes before.
        taken = {own.path[len(here)] for own in (*entries, *found) if len(own.path) > len(here) and own.path[: len(here)] == here}  # fmt: skip
        for name in _ALIAS.findall(entry.value):
            there = anchors.get(name)
            for other in tuple(found) if there is not None else ():
                rest = other.path[len(there or ()) :]
                if other.path[: len(there or ())] == there and (merge < 0 or (rest and rest[0] not in taken)):
                    found.append(Entry(here + rest, other.value, other.line))
            taken |= {own.path[len(here)] for own in found if own.path[: len(here)] == here and len(own.path) > len(here)}  # fmt: skip
    return found
