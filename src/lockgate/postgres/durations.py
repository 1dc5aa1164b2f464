"""Time limits with their unit in the type: a lock time-out is never handed in for a statement time-out."""

import re
from typing import Self

_TEXT = re.compile(r"\s*([0-9]{1,12}(?:\.[0-9]{1,12})?)\s*(ms|s|min|h|d)?\s*")
_UNIT = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000, None: 1000}
_LARGEST = 2_147_483_647  # the server keeps them in a 32-bit int of milliseconds


class Limit:
    """A time limit in whole milliseconds; 0 switches it off, as in PostgreSQL."""

    __slots__ = ("milliseconds",)

    def __init__(self, milliseconds: int) -> None:
        if not 0 <= milliseconds <= _LARGEST:
            raise ValueError(f"a time limit is between 0 and {_LARGEST} ms, not {milliseconds}")
        self.milliseconds = milliseconds

    @classmethod
    def parse(cls, text: str | float) -> Self:
        """Read ``3s``, ``250ms``, ``15min``, ``1h`` or a bare number of seconds. Raises ``ValueError``."""
        match = _TEXT.fullmatch(str(text))
        if not match:
            raise ValueError(f"{text!r} is not a time limit; write for example 3s, 250ms or 15min")
        return cls(round(float(match[1]) * _UNIT[match[2]]))

    @property
    def seconds(self) -> float:
        """The limit in seconds."""
        return self.milliseconds / 1000

    def setting(self) -> str:
        """The value as the server's ``SET`` takes it."""
        return f"{self.milliseconds}ms"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.milliseconds == other.milliseconds

    def __hash__(self) -> int:
        return hash((type(self), self.milliseconds))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.milliseconds})"

    def __str__(self) -> str:
        for name, unit in (("h", 3_600_000), ("min", 60_000), ("s", 1000)):
            if self.milliseconds and self.milliseconds % unit == 0:
                return f"{self.milliseconds // unit}{name}"
        return f"{self.milliseconds}ms"


class LockTimeout(Limit):
    """How long one statement may wait for one lock (``lock_timeout``)."""

    __slots__ = ()


class StatementTimeout(Limit):
    """How long one statement may run (``statement_timeout``)."""

    __slots__ = ()


class FileTimeout(Limit):
    """How long one migration file may run, all its statements together."""

    __slots__ = ()


class RunTimeout(Limit):
    """How long a whole run may take (``MIGRATION_TIMEOUT_SECONDS``)."""

    __slots__ = ()
