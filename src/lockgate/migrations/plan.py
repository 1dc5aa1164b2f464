"""What would run, and whether it may: a pure function of files, ledger problems and history."""

import hashlib

import msgspec

from lockgate.migrations.files import Migration
from lockgate.migrations.history import History


class Obstacle(msgspec.Struct, frozen=True, rename="camel"):
    """Why nothing may run: a reason code, the revision it is about, and what was found."""

    code: str
    revision: str
    message: str


class Plan(msgspec.Struct, frozen=True, rename="camel"):
    """What ``up`` would do. Printable as JSON and read back; two plans of equal content have equal hashes.

    The hash covers content only, the (revision, sha256) pairs of what is applied and what is pending: it is the same in
    CI and in production when both stand at the same base.
    """

    applied: tuple[tuple[str, str], ...]
    pending: tuple[tuple[str, str], ...]
    obstacles: tuple[Obstacle, ...] = ()
    hash: str = ""

    @property
    def base(self) -> str:
        """The newest applied revision, or ""."""
        return self.applied[-1][0] if self.applied else ""

    @property
    def goal(self) -> str:
        """The newest revision after the plan has run, or ""."""
        return self.pending[-1][0] if self.pending else self.base


def plan_hash(applied: tuple[tuple[str, str], ...], pending: tuple[tuple[str, str], ...]) -> str:
    """sha256 over the canonical JSON of both lists."""
    return hashlib.sha256(
        msgspec.json.encode({"applied": applied, "pending": pending, "v": 1}, order="sorted")
    ).hexdigest()


def resolve(migrations: tuple[Migration, ...], history: History) -> Plan:
    """The plan for these files on top of this history. No database, no clock: the same input gives the same plan."""
    obstacles: list[Obstacle] = []
    if history.broken:
        obstacles.append(Obstacle("HISTORY_TAMPERED", "", history.broken))
    files = {m.revision: m for m in migrations}
    known = {row.revision: row for row in history.rows}
    newest_file = max(files, default="")
    applied = tuple((row.revision, row.checksum) for row in history.rows)
    for row in history.rows:
        migration = files.get(row.revision)
        if migration is None:
            if row.revision > newest_file:
                obstacles.append(
                    Obstacle(
                        "HISTORY_AHEAD",
                        row.revision,
                        f"the database has {row.revision} ({row.name}), newer than every file here",
                    )
                )
            else:
                obstacles.append(
                    Obstacle(
                        "MIGRATION_MISSING",
                        row.revision,
                        f"the database has {row.revision} ({row.name}), the files do not",
                    )
                )
        elif migration.checksum != row.checksum:
            obstacles.append(
                Obstacle(
                    "CHECKSUM_MISMATCH", row.revision, f"{migration.file} is not the file that was applied"
                )
            )
    for revision in history.partial:
        if revision not in files:
            told = f"{revision} stopped half way, and its file is gone or renamed: its first statements would run again"
            obstacles.append(Obstacle("PARTIAL", revision, told))
    pending = []
    for migration in sorted(migrations, key=lambda m: m.revision):
        if migration.revision in known:
            continue
        if migration.revision < history.newest:
            obstacles.append(
                Obstacle(
                    "OUT_OF_ORDER",
                    migration.revision,
                    f"{migration.file} is older than {history.newest}, which is applied",
                )
            )
        pending.append((migration.revision, migration.checksum))
    # A revision that is ahead says it all; the files it lacks would only repeat it.
    ordered = tuple(sorted(obstacles, key=lambda o: (_RANK.get(o.code, 9), o.revision)))
    return Plan(applied, tuple(pending), ordered, plan_hash(applied, tuple(pending)))


_RANK = {
    "HISTORY_TAMPERED": 0,
    "HISTORY_AHEAD": 1,
    "MIGRATION_MISSING": 2,
    "CHECKSUM_MISMATCH": 3,
    "EOL_ONLY": 4,
    "PARTIAL": 5,
    "OUT_OF_ORDER": 6,
}
