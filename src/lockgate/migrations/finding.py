"""One thing wrong with a file or the ledger, told with file, line, construct and fix."""

import msgspec

from lockgate.record.reasons import reason


class Problem(msgspec.Struct, frozen=True):
    """A breach of the file contract. ``id`` is a reason code; ``line`` counts from 1, 0 means the whole file."""

    id: str
    file: str
    line: int
    message: str
    fix: str = ""
    severity: str = "error"

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.id}: {self.message}"


def problem(code: str, file: str, line: int, message: str, fix: str = "") -> Problem:
    """A problem whose fix is that of its reason code unless one is given."""
    return Problem(code, file, line, message, fix or reason(code).next)
