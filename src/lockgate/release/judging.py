"""What the policy says of the files that a run is about to apply, against the model of all that are applied.

``authorise`` looks at the answer. It is made once, before the lock is taken, and holds for whatever part of those files
is still pending under the lock: a file's verdict depends on the files before it, and those are the same.
"""

from datetime import date

import msgspec

from lockgate.config import Settings
from lockgate.migrations.files import Migration
from lockgate.policy.facts import Server
from lockgate.policy.finding import Finding
from lockgate.policy.rules import HAZARDS
from lockgate.release.judged import UNKNOWN_TARGET, Judged
from lockgate.release.moving import Change, changes_of
from lockgate.release.walk import Walk, uncollected, with_fix


def judge_pending(
    migrations: tuple[Migration, ...],
    pending: frozenset[str],
    settings: Settings,
    *,
    server: int,
    configured: bool,
    fresh: bool,
    today: date,
    begun: frozenset[str] = frozenset(),
) -> Judged:
    """Judge the ``pending`` revisions, which keep the file contract, on top of the others.

    ``server`` is the major version that they run on. Without a ``configured`` environment, what a snapshot or a
    time-out setting could prove harmless is a warning. On a ``fresh`` target every table is born in this very run, so
    the end dates of allowances, which stand for how tables grow, do not count.
    """
    walk = _walk(migrations, pending, settings, server, date.min if fresh else today)
    found = [*walk.findings, *walk.finish()]
    findings = sorted(map(with_fix, found), key=lambda found: (found.file, found.line))
    return Judged(
        settings.policy.profile,
        pending,
        tuple(found if configured else _on_any_target(found) for found in findings),
        begun,
    )


def changes_in(
    migrations: tuple[Migration, ...], pending: frozenset[str], settings: Settings, *, server: int
) -> list[Change]:
    """What the statements of the ``pending`` revisions change; asked only while a move is under way."""
    walk = _walk(migrations, pending, settings, server, date.min)
    return [change for s in walk.statements for change in changes_of(s.file, s.line, s.locks)]


def _walk(
    migrations: tuple[Migration, ...], pending: frozenset[str], settings: Settings, server: int, today: date
) -> Walk:
    """The policy's walk over all files: it learns what the others build and judges the ``pending`` ones."""
    walk = Walk(settings, today, server=Server(version=server), contract=False)
    with uncollected():
        for migration in migrations:
            if migration.revision in pending:
                walk.judge(migration)
            else:
                walk.learn(migration)
    return walk


def _on_any_target(found: Finding) -> Finding:
    row = HAZARDS.get(found.id)
    if found.severity != "error" or row is None or not (row.by_size or row.by_target):
        return found
    return msgspec.structs.replace(
        found,
        severity="warning",
        evidence=found.evidence + UNKNOWN_TARGET,
    )
