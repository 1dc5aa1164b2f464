"""What a connection that was not made means: no room yet, refused, a wrong URL, or nobody there."""

import re

from psycopg import errors as driver_errors

from lockgate.errors import ConfigError, LockgateError, Refused, Unreachable
from lockgate.postgres.sqlstate import STARTING
from lockgate.postgres.target import Target
from lockgate.record.redact import redact

_LATER = (
    "starting up", "shutting down", "in recovery mode", "not yet accepting connections", "system is not accepting connections", "too many clients", "too many connections",
    "remaining connection slots", "no more connections allowed",
)  # fmt: skip
"""What a server or a pooler says that has no room now. A failed connect carries no SQLSTATE, so the words have to do."""
_NO_ROLE = re.compile(r'role "[^"]*" (does not exist|is not permitted to log in)')


def connect_error(target: Target, error: driver_errors.Error) -> LockgateError:
    """The error of a failed connect, without the secrets that the driver's message may repeat."""
    text = redact(str(error)).strip().replace("\n", " ")
    state = getattr(error, "sqlstate", None) or ""
    details: dict[str, object] = {"target": str(target), "sqlstate": state}
    if state in STARTING or any(words in text for words in _LATER):
        return Unreachable(f"no connection to {target}: {text}", "TOO_MANY_CONNECTIONS", details=details)
    if (
        "password authentication failed" in text
        or "no password supplied" in text
        or "no pg_hba.conf entry" in text
        or _NO_ROLE.search(text)
    ):
        return Refused(
            f"{target} refused the login: {text}",
            "PRIVILEGE",
            next="Check user, password and pg_hba.conf.",
            details=details,
        )
    if "invalid connection option" in text or "invalid sslmode" in text or "invalid port" in text:
        return ConfigError(f"the URL of {target} has a wrong option: {text}")
    return Unreachable(f"{target} cannot be reached: {text}", details=details)
