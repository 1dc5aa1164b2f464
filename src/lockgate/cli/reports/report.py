"""What every format starts from: findings in order, where their files are, and the lines they point at."""

import hashlib
from collections.abc import Callable, Mapping
from os.path import relpath
from pathlib import Path

from msgspec import Struct, structs

from lockgate.policy.finding import Finding
from lockgate.policy.hazard import ERROR, INFO, WARNING

LEVELS = (ERROR, WARNING, INFO)
"""Severities, the worst first."""


class Report(Struct, frozen=True):
    """Findings over ``names`` files and ``statements`` statements.

    ``folder`` is the path of the files from the root of the repository, with slashes; ``texts`` holds each file's text.
    """

    findings: tuple[Finding, ...]
    names: tuple[str, ...]
    statements: int
    folder: str
    texts: Mapping[str, str]
    version: str
    strict: bool = False
    # Files that were scanned for deployments: their names are paths already.
    elsewhere: frozenset[str] = frozenset()
    # The profile of the policy.
    profile: str = "default"

    @property
    def files(self) -> int:
        """How many files were read."""
        return len(self.names)

    def path(self, file: str) -> str:
        """``file`` from the root of the repository. What is no file of the folder (the folder itself) stays as it is."""
        if self.folder and "/" not in file and file not in self.elsewhere:
            return f"{self.folder}/{file}"
        return file

    def line(self, finding: Finding) -> str:
        """The line that ``finding`` points at; empty for a whole file."""
        if not finding.line:
            return ""
        lines = self.texts.get(finding.file, "").split("\n")
        return lines[finding.line - 1].rstrip("\r") if finding.line <= len(lines) else ""

    def count(self, severity: str) -> int:
        """How many findings have this severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def fails(self, finding: Finding) -> bool:
        """Whether ``finding`` makes the check fail."""
        return finding.severity == ERROR or (self.strict and finding.severity == WARNING)

    @property
    def failed(self) -> bool:
        """Whether any finding makes the check fail."""
        return any(map(self.fails, self.findings))

    def tally(self) -> str:
        """``2 errors, 1 warning``; empty when nothing was found."""
        counted = ((self.count(level), level) for level in LEVELS)
        plural = {ERROR: "errors", WARNING: "warnings", INFO: "notes"}
        single = {ERROR: "error", WARNING: "warning", INFO: "note"}
        return ", ".join(f"{n} {single[level] if n == 1 else plural[level]}" for n, level in counted if n)

    def scope(self) -> str:
        """``3 files, 12 statements``."""
        return (
            f"{self.files} file{'s' if self.files != 1 else ''}, "
            f"{self.statements} statement{'s' if self.statements != 1 else ''}"
        )

    def fingerprints(self) -> list[str]:
        """One for each finding, in order: the same while its id, its file and the words of its line are.

        The number of the line is left out, so that lines added above change nothing; equal ones are counted.
        """
        seen: dict[str, int] = {}
        made = []
        for finding in self.findings:
            words = " ".join(self.line(finding).split())
            key = "\0".join((finding.id, self.path(finding.file), words))
            number = seen[key] = seen.get(key, 0) + 1
            made.append(hashlib.sha256(f"{key}\0{number}".encode("utf-8", "replace")).hexdigest()[:32])
        return made

    def redacted(self, redact: Callable[[str], str]) -> "Report":
        """The same report with ``redact`` over everything that came out of a file.

        A text is redacted whole, because a secret may stand on another line than the word that gives it away.
        """
        shown = {finding.file for finding in self.findings}
        return structs.replace(
            self,
            findings=tuple(
                structs.replace(f, message=redact(f.message), fix=redact(f.fix), evidence=redact(f.evidence))
                for f in self.findings
            ),
            texts={
                name: _same_lines(text, redact(text)) for name, text in self.texts.items() if name in shown
            },
        )


def _same_lines(text: str, redacted: str) -> str:
    """``redacted``; nothing where a secret of several lines went, since then no line is where it was."""
    return redacted if redacted.count("\n") == text.count("\n") else ""


def repository_path(directory: Path) -> str:
    """``directory`` from the root of the repository it is in, else from the working directory, with slashes."""
    whole = directory.absolute()
    root = next((folder for folder in (whole, *whole.parents) if (folder / ".git").exists()), Path.cwd())
    return Path(relpath(whole, root)).as_posix()


def shown(text: str) -> str:
    """``text`` on one line without control characters, so that no terminal and no reader takes orders from it."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else " " if c in "\t\n\r" else c.encode("unicode_escape", "replace").decode()
        for c in text
    )
