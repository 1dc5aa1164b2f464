"""What the server said, and which reason code that is."""

RETRY = frozenset({"55P03", "40P01", "40001"})
"""Lock not available, deadlock, serialization: rolled back whole, so trying again is right."""

GONE = frozenset({"57P01", "57P02", "57P05", "08000", "08003", "08006", "08P01", "25P03", "25P04"})
"""The session is over: shutdown, crash, idle or transaction time-out, broken protocol."""

STARTING = frozenset({"53300", "57P03", "08001", "08004"})
"""No connection now, perhaps in a moment: too many clients, starting up or shutting down."""

_REASONS = {
    "55P03": "LOCK_TIMEOUT",
    "40P01": "DEADLOCK",
    "40001": "DEADLOCK",
    "57014": "STATEMENT_TIMEOUT",
    "53100": "DISK_FULL",
    "53200": "OUT_OF_MEMORY",
    "53300": "TOO_MANY_CONNECTIONS",
    "42501": "PRIVILEGE",
    "25006": "READ_ONLY_TARGET",
}


def reason_of(sqlstate: str) -> str:
    """The reason code of a failed statement; what has none of its own is ``MIGRATION_EXECUTION_FAILED``."""
    return _REASONS.get(sqlstate, "MIGRATION_EXECUTION_FAILED")


class ServerError(Exception):
    """An error that the server reported for one statement. Plain data; the caller decides what it means.

    ``index`` is the position of the failing call in its batch; ``position`` counts characters from 1 in it.
    """

    def __init__(
        self,
        sqlstate: str,
        message: str,
        *,
        index: int = 0,
        detail: str = "",
        hint: str = "",
        context: str = "",
        position: int = 0,
    ) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.message = message
        self.index = index
        self.detail = detail
        self.hint = hint
        self.context = context
        self.position = position
