"""Databases at the base of a rehearsal: replayed once, then copied from a template."""

import re
from collections.abc import Callable

from lockgate.errors import Interrupted, RunFailed
from lockgate.migrations.plan import Plan
from lockgate.migrations.progress import Log
from lockgate.postgres.fingerprint import Fingerprint, read_fingerprint
from lockgate.postgres.scratch import Ground
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.wire import Wire
from lockgate.record.words import counted
from lockgate.rehearsal.checks import same_schema
from lockgate.rehearsal.replay import Stage, replay
from lockgate.rehearsal.straight import Unusual
from lockgate.rehearsal.templates import digest_in, key_of, note_of
from lockgate.rehearsal.verdict import Check

_NO_ROLE = re.compile(r'role "([^"]+)" does not exist')
_ROLES = 50
"""How many missing roles are made for one replay."""


class Bases:
    """Makes databases on which the applied files of ``plan`` stand. ``notes`` tells which roles had to be made."""

    def __init__(self, ground: Ground, stage: Stage, plan: Plan, tell: Callable[[str, str], None]) -> None:
        self.ground = ground
        self.stage = stage
        self.plan = plan
        self.notes: list[str] = []
        self.tell = tell
        self._whole: tuple[str, str, str] | None = None

    def _moves(self) -> tuple[str, ...]:
        """What tells the moves that files wait for apart from any others."""
        if not self.stage.moves:
            return ()
        from lockgate.moves.again import hashes

        return hashes(self.stage.moves)

    def make(self) -> str:
        """A database at the base: a copy of its template, or a replay that becomes one. Its name."""
        applied = self.plan.applied
        if not applied:
            return self.ground.create()
        key = key_of(applied, self._moves())
        copy = self._copy_of(key)
        if copy:
            return copy
        self.tell("replaying", f"the base, {counted(len(applied), 'file')}")
        name, found = self._replayed(applied[-1][0])
        if not self.ground.ours:
            return name
        self.ground.keep_as_template(name, key, note_of(found.digest))
        return self._copy_of(key) or self._replayed(applied[-1][0])[0]

    def compare_with_nothing(self, after: Fingerprint) -> Check:
        """Compare ``after`` with a replay of all files from nothing, at full speed; a template remembers what that gave."""
        key = key_of((*self.plan.applied, *self.plan.pending), self._moves())
        found = self.ground.find_template(key) if self.ground.ours else None
        if found is not None and digest_in(found[1]):
            return same_schema(after, digest_in(found[1]), None)
        self.tell("replaying", f"all {counted(len(self.stage.migrations), 'file')} from nothing")
        name, whole = self._replayed(None)
        if self.ground.ours:
            self._whole = (name, key, note_of(whole.digest))
        return same_schema(after, whole.digest, whole)

    def keep(self) -> None:
        """Keep the replay from nothing as a template. At the end, for the server waits a tenth of a second where its sessions are still leaving."""
        if self._whole is not None:
            self.ground.keep_as_template(*self._whole)
            self._whole = None

    def with_roles(self, act: Callable[[], None]) -> None:
        """Do it; and again when a role was missing that could be made: roles come from outside the migrations."""
        for _ in range(_ROLES):
            try:
                return act()
            except RunFailed as error:
                missing = _NO_ROLE.search(error.message)
                if missing is None or not self.ground.make_roles((missing[1],)):
                    raise
                self.notes.append(f"role {missing[1]} was made on the scratch server: a file names it")
        return act()

    def _replayed(self, until: str | None) -> tuple[str, Fingerprint]:
        """A database with all files up to ``until``, and its schema."""
        seen: list[Fingerprint] = []
        name, straight = "", True

        def look(wire: Wire) -> None:
            seen.append(read_fingerprint(wire))

        def act() -> None:
            nonlocal name, straight
            name = name or self.ground.create()
            try:
                replay(self.ground.at(name), self.stage, Log(), until=until, straight=straight, then=look)
            except Unusual:
                name, straight = "", False
                act()

        try:
            self.with_roles(act)
        except Interrupted:
            raise
        except RunFailed as error:
            self._say_what_is_so(error)
            raise
        return name, seen[-1]

    def _say_what_is_so(self, error: RunFailed) -> None:
        """A file that is applied failed on a scratch server: it cannot just be mended, and nothing of the target was touched."""
        revision = str(error.details.get("revision") or "")
        if revision not in {applied for applied, _ in self.plan.applied}:
            return
        item = self.stage.prepared[revision]
        error.state = f"{item.migration.file} is applied and stands; it failed on a scratch server that replays the history from nothing. The target was not touched."
        gone = [
            f"moves/{name}.toml"
            for name in (after.removeprefix("move:") for after in item.directives.after)
            if name not in self.stage.moves
        ]
        error.next = (
            f"Put back {' and '.join(gone)}: the file waits for it, and the rows that earlier files wrote are filled in as it says. Then rehearse again."
            if gone
            else f"Make the file run from nothing too, without a change to what it leaves; then lockgate check --write-ledger, and wherever it is applied: lockgate repair --accept-file {revision} --reason TEXT --actor WHO"
        )

    def _copy_of(self, key: str) -> str:
        """A copy of the template ``key``; "" when there is none, or when it went away just now."""
        found = self.ground.find_template(key) if self.ground.ours else None
        if found is None:
            return ""
        try:
            return self.ground.create(found[0])
        except ServerError as error:
            if error.sqlstate not in ("3D000", "55006"):
                raise
            return ""
