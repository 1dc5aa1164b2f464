"""The errors that lockgate raises on purpose.

    LockgateError                 a message, a reason code, the state of the world, the next command, fields
    ├── ConfigError               lockgate.toml, environment variables, options            exit 2
    ├── CheckFailed               files or ledger break their contract; holds all problems  exit 1
    ├── Refused                   policy, plan or permission says no; nothing was done     exit 4, 77
    ├── Unreachable               no connection, or lost for good                          exit 69
    ├── Busy                      another runner holds the lock                            exit 75
    └── RunFailed                 a run stopped half way; holds what is applied and what is not
        ├── Interrupted           a signal                                                 exit 130, 143
        └── Held                  nobody can tell; a person must look                      exit 5

The exit code of an error is that of its reason code, unless it carries its own.
"""

from collections.abc import Mapping

from lockgate.record.reasons import Exit, reason


class LockgateError(Exception):
    """Something that a person has to know.

    ``details`` holds fields for programs; ``state`` and ``next`` default to those of the reason code.
    """

    default_reason = "BUG"

    def __init__(
        self,
        message: str,
        code: str | None = None,
        *,
        state: str | None = None,
        next: str | None = None,
        exit: Exit | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        row = reason(code or self.default_reason)
        self.message = message
        self.code = row.code
        self.state = row.state if state is None else state
        self.next = row.next if next is None else next
        self.exit = row.exit if exit is None else exit
        self.details: dict[str, object] = dict(details or {})


class ConfigError(LockgateError):
    """A setting is wrong; nothing was started."""

    default_reason = "CONFIG"


class CheckFailed(LockgateError):
    """Files or ledger break their contract. ``details['findings']`` lists every one of them."""

    default_reason = "FILE_SYNTAX"


class Refused(LockgateError):
    """lockgate will not do this. Nothing was changed."""

    default_reason = "PLAN_STALE"


class Unreachable(LockgateError):
    """The database or a needed service does not answer."""

    default_reason = "UNREACHABLE"


class Busy(LockgateError):
    """Another runner holds the lock. ``details['holder']`` tells who."""

    default_reason = "LOCK_BUSY"


class RunFailed(LockgateError):
    """A run stopped half way. ``details`` tell what is applied and what is not."""

    default_reason = "MIGRATION_EXECUTION_FAILED"


class Interrupted(RunFailed):
    """A signal ended the run; the statement was cancelled and the file rolled back."""

    default_reason = "CANCELLED"


class Held(RunFailed):
    """It cannot be told whether this is done or safe; a person must look."""

    default_reason = "IN_DOUBT"
