"""The work session of a run: prepared queries, the check after each file, the reset when a file left something behind."""

from functools import cache
from pathlib import Path

from lockgate import __version__
from lockgate.errors import RunFailed
from lockgate.migrations.files import Migration
from lockgate.migrations.history import CANONICAL
from lockgate.postgres.durations import LockTimeout, StatementTimeout
from lockgate.postgres.guard import GUARD_KEY, WORK_KEY, Guard, key_halves
from lockgate.postgres.script import Statement
from lockgate.postgres.settings import apply_settings, in_milliseconds
from lockgate.postgres.wire import Call, Reply

_FOLDER = Path(__file__).parent / "sql"


@cache
def statement(name: str) -> str:
    """The SQL of ``sql/<name>.sql`` with the canonical row expression filled in."""
    return (
        (_FOLDER / f"{name}.sql")
        .read_text("utf-8")
        .replace("/*CANONICAL*/", CANONICAL, 1 if name != "record" else -1)
    )


def sets_something(item: Statement) -> bool:
    """True for a statement that may leave a setting behind (SET, set_config): the session is made anew after its file."""
    return item.kind == "variable_set_stmt" or "set_config" in item.text.lower()


class WorkSession:
    """What a run does on the guard's work connection around the statements of its files."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.wire = guard.work
        rows = self.wire.one("SELECT DISTINCT revision_id FROM lockgate.migration_step").rows
        self.partial = frozenset(row[0] or "" for row in rows)
        self.wire.prepare("lockgate_record", statement("record"))
        self._checks = False

    def check_call(self) -> Call:
        """The call that reads the session back; its reply goes to ``judge``. The first one costs a round trip to prepare it."""
        if not self._checks:  # transactional files have it in what records them
            self.wire.prepare("lockgate_check", statement("check"))
            self._checks = True
        return Call("lockgate_check", self._locks(), prepared=True)

    def _locks(self) -> tuple[str, ...]:
        """Where ``pg_locks`` shows our two locks: guard session, both keys in halves, database."""
        halves = (*key_halves(GUARD_KEY), *key_halves(WORK_KEY))
        return (str(self.guard.guard_facts.backend_pid), *halves, self.guard.facts.database_oid)

    def record_call(
        self,
        migration: Migration,
        phase: str,
        *,
        state: str = "applied",
        started_at: str | None = None,
        schema_digest: str | None = None,
    ) -> Call:
        """The call that writes the history row under the fence. No row in its reply means: fenced."""
        identity = self.guard.identity
        return Call(
            "lockgate_record",
            (
                str(self.guard.epoch), migration.revision, migration.checksum, migration.name, phase, state, identity.operator, identity.run_id,
                identity.release_id, started_at, __version__, schema_digest, migration.text, *self._locks(),
            ),
            prepared=True,
        )  # fmt: skip

    def judge(self, reply: Reply, lock_timeout: LockTimeout, statement_timeout: StatementTimeout) -> bool:
        """Read the session's state after a file that ran with these limits: True when it has to be reset.

        Raises ``RunFailed`` (``LOCK_LOST``, ``SESSION_LEAK``) for what must not be committed.
        """
        return self._judge(reply.rows[0], lock_timeout, statement_timeout)

    def judge_recorded(
        self, row: tuple[str | None, ...], lock_timeout: LockTimeout, statement_timeout: StatementTimeout
    ) -> bool:
        """The same, from the row that the history's own statement gave back."""
        return self._judge((*row[3:11], *(row[11] or "0 0 0").split()), lock_timeout, statement_timeout)

    def _judge(
        self, cells: tuple[str | None, ...], lock_timeout: LockTimeout, statement_timeout: StatementTimeout
    ) -> bool:
        user, session_user, replication, search_path, lock, limit, canary, temporary, *locks = (
            c or "" for c in cells
        )
        guard_lock, work_lock, advisory = locks
        facts = self.guard.facts
        if guard_lock == "0" or work_lock == "0":
            raise RunFailed(
                f"the {'guard' if guard_lock == '0' else 'work'} session no longer holds its lock",
                "LOCK_LOST",
            )
        if user != facts.user or session_user != facts.session_user or replication != "origin":
            raise RunFailed(
                f"the file left the session as {user} (session user {session_user}, replication role {replication})",
                "SESSION_LEAK",
            )
        limits_moved = (
            in_milliseconds(lock) != lock_timeout.milliseconds
            or in_milliseconds(limit) != statement_timeout.milliseconds
        )
        return (
            limits_moved
            or search_path != facts.search_path
            or not canary
            or temporary == "true"
            or advisory != "1"
        )

    def reset(self) -> None:
        """Undo what a file left in the session (settings, temporary tables, advisory locks) and make our settings again."""
        self.wire.batch(
            [
                Call("RESET ALL"), Call("CLOSE ALL"), Call("UNLISTEN *"), Call("DISCARD TEMP"), Call("DISCARD SEQUENCES"),
                # The guard is held all the while, so nobody can take the work lock between these two.
                Call("SELECT pg_catalog.pg_advisory_unlock_all()"), Call(f"SELECT pg_catalog.pg_try_advisory_lock({WORK_KEY})"),
            ],
            uncancellable=True,
            label="reset",
        )  # fmt: skip
        apply_settings(
            self.wire,
            self.guard.settings.wanted(
                guard=True, local=self.guard.facts.by_socket, version=self.guard.facts.version
            )
            | {
                "application_name": f"lockgate/{self.wire.name}"
            },  # else that of the connection, which only looked
        )

    def rollback(self) -> None:
        """Roll back if anything is open; the connection stays usable."""
        if self.wire.alive and self.wire.in_transaction:
            self.wire.batch([Call("ROLLBACK")], uncancellable=True, label="rollback")
