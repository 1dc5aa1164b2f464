"""Plain files straight through, many in one round trip: a replay from nothing that need not wait between two of them.

The statements are those of ``migrations.transactional``, each file in its transaction with its history row. What that engine
looks at after each file is looked at here after all of them. So this is for a database that can be thrown away, and for
files that leave nothing behind; where one did, or failed, the engine itself has to say what is so.
"""

from itertools import takewhile

from lockgate.migrations.contract import Prepared
from lockgate.migrations.limits import Deadline, Limits
from lockgate.migrations.session import WorkSession, sets_something
from lockgate.migrations.transactional import COMMIT, calls_of
from lockgate.postgres.guard import Guard
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.wire import Call

_MOST = 200
"""Files in one round trip."""


class Unusual(Exception):
    """A file left something behind in the session, or was refused: what came after the first such file did not run as it should."""


def plain(item: Prepared) -> bool:
    """Whether the file needs nothing before it, nothing around it but a transaction, and nothing after it."""
    directives = item.directives
    return directives.transaction and not directives.after and not any(map(sets_something, item.statements))


def apply_straight(guard: Guard, files: list[Prepared], limits: Limits, run: Deadline) -> bool:
    """Apply the first of ``files``, as many as are ``plain``; True when these were all.

    Raises ``Unusual``, also when the server refused one of them; ``RunFailed`` when a file left the session to somebody else,
    ``Cancelled`` and ``ConnectionLost``.
    """
    session = WorkSession(guard)
    first = list(takewhile(plain, files))
    for start in range(0, len(first), _MOST):
        some = first[start : start + _MOST]
        calls: list[Call] = []
        ends: list[int] = []
        for item in some:
            calls += calls_of(session, item, limits)
            ends.append(len(calls) - 1)
            calls.append(COMMIT)
        try:
            replies = guard.work.batch(calls, deadline=run.at, cause=run.cause, label="files")
        except ServerError as error:
            # Nobody saw what those before it left behind, so it may be refused for that alone.
            session.rollback()
            raise Unusual(error.message) from None
        for item, end in zip(some, ends, strict=True):
            rows = replies[end].rows
            if not rows or session.judge_recorded(rows[0], *limits.of_file(item.directives)):
                raise Unusual(item.migration.file)
    return len(first) == len(files)
