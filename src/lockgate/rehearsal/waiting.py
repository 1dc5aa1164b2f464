"""Who has to wait for the locks of a statement, in the words of whoever runs the service. Pure."""

from lockgate.postgres.tree.words import LockMode
from lockgate.rehearsal.trace import StatementTrace

EVERYBODY, WRITERS, NOBODY = "everybody", "writers", "nobody"


def who(mode: str) -> str:
    """Who waits for a lock of this mode: reading takes AccessShareLock, writing RowExclusiveLock."""
    if mode == LockMode.AccessExclusiveLock.name:
        return EVERYBODY
    return WRITERS if LockMode[mode] >= LockMode.ShareLock else NOBODY


def waiting_for(statement: StatementTrace) -> str:
    """Who waits for the strongest lock that the statement took on a relation that was there before its file."""
    found = {who(mode) for mode in statement.waited_for.values()}
    return EVERYBODY if EVERYBODY in found else WRITERS if WRITERS in found else NOBODY


def noteworthy(statement: StatementTrace) -> bool:
    """Whether somebody waits, or the time that it takes grows with the rows."""
    made = statement.evidence.made_here
    return waiting_for(statement) != NOBODY or any(
        name not in made for name in (*statement.rewrites, *statement.scans)
    )


def locks_told(statement: StatementTrace) -> str:
    """The locks that keep somebody waiting, in words; "" when none does. Partitions of one table stand together."""
    waits = waiting_for(statement)
    by_mode: dict[str, list[str]] = {}
    for name, mode in sorted(statement.waited_for.items()):
        if waits != NOBODY and who(mode) == waits:
            by_mode.setdefault(mode.removesuffix("Lock"), []).append(name)
    return "; ".join(f"{_some(names)} ({mode})" for mode, names in by_mode.items())


def besides(statement: StatementTrace) -> str:
    """What else costs time, in words; "" when nothing does."""
    told = []
    if statement.rewrites:
        told.append(f"rewrites {_some(statement.rewrites)}")
    if statement.scans:
        told.append(f"reads all of {_some(statement.scans)}")
    return ", ".join(told)


def _some(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{', '.join(names[:2])} and {len(names) - 2} more"
