"""The pending files, one after another: before each what it needs, after each a look at the database."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from lockgate.errors import Interrupted, LockgateError, RunFailed
from lockgate.migrations.progress import AppliedFile, Log
from lockgate.policy.finding import StatementFacts
from lockgate.postgres.breaking import Breakable, fails_to_validate, read_breakable
from lockgate.postgres.fingerprint import Shape, read_shape
from lockgate.postgres.observing import Observation
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from lockgate.record.words import counted
from lockgate.rehearsal.bases import Bases
from lockgate.rehearsal.filling import Filling
from lockgate.rehearsal.probing import Probe
from lockgate.rehearsal.replay import FileLog, observe
from lockgate.rehearsal.verdict import Check, failed, held, passed
from lockgate.rehearsal.within import added_before, breaks_for_any_row, put_on

if TYPE_CHECKING:
    from lockgate.rehearsal.claims import Claims

OF_ROWS = ("22", "23", "P0")
"""Classes of SQLSTATE that depend on the rows that are there: bad data, violated constraints, what a block raises."""
_WRITES = ("INSERT", "UPDATE", "DELETE", "MERGE", "SELECT")
_CERTAIN = "23502"
"""NULL in a column that may hold none: our rows hold a NULL only where the files themselves left one."""


class Course:
    """Goes through the pending files on ``target``. What it learns stands in its fields."""

    def __init__(
        self,
        bases: Bases,
        target: Target,
        wire: Wire,
        filling: Filling,
        probe: Probe,
        judge: "Callable[[], Claims]",
    ) -> None:
        """``judge`` gives what the policy claims, at once where it was asked before."""
        self.bases = bases
        self.stage = bases.stage
        self.pending = [revision for revision, _ in bases.plan.pending]
        self.checks: list[Check] = []
        self.notes: list[str] = []
        self.files: dict[str, AppliedFile] = {}
        self.observed: dict[tuple[str, int], Observation] = {}
        self.before: dict[str, Shape] = {}
        """Revision of a file with a down section → the schema before it."""
        self._target = target
        self._wire = wire
        self._filling = filling
        self._probe = probe
        self._judge = judge
        self._refused: dict[str, LockgateError] = {}
        """Revision → why the file did not apply on made-up rows."""
        self._mended: set[str] = set()
        """Revisions that could not VALIDATE what our rows from before it broke."""
        self._certain: set[str] = set()
        """Revisions that cannot VALIDATE what they add themselves, whatever rows are there."""
        self._satisfied: dict[str, Breakable] = {}
        """What was NOT VALID when rows were made to satisfy it, by oid."""
        self.proven: list[Breakable] = []
        """What was validated on rows that were made to satisfy it."""
        self._new_tables = True

    def run(self, *, asked: bool) -> bool:
        """Apply every pending file, looking after each; True when all of them are applied. ``asked`` says that queries are run."""
        self._asked = asked
        self._ready(self.pending[0] if self.pending else "")
        if self.bases.plan.applied:
            self._probe.look(self.bases.plan.base)
        self.bases.tell("applying", f"{counted(len(self.pending), 'file')}")
        while True:
            log = FileLog(self._after)
            try:
                self.bases.with_roles(lambda: self._observe(log))  # noqa: B023 - called at once
            except Interrupted:
                raise
            except LockgateError as error:
                revision = str(error.details.get("revision") or log.in_flight or "")
                if self._mend(revision, error):
                    continue
                if _depends_on_rows(error) and self._filling.rows and revision not in self._refused:
                    self._refused[revision] = error
                    self._filling.clear()
                    self._new_tables = True
                    continue
                told = f"{revision}: {error.message}" if revision else f"{error.message}. {error.next}"
                first = self._refused.get(revision)
                if first is not None:
                    told += f" (without made-up rows; with them: {'the same' if first.message == error.message else first.message})"
                self.checks.append(failed("applies", told, error.code))
                return False
            break
        told = f"{counted(len(self.files), 'file')} applied" if self.pending else "nothing is pending"
        self.checks.append(passed("applies", told))
        return True

    def _mend(self, revision: str, error: LockgateError) -> bool:
        """Where our rows break what the file is to VALIDATE: fill the tables anew, as production's are cleaned by then; True to try again.

        The constraint is there since an earlier file, so the new rows satisfy it as every row does that comes after it; or the file
        adds it itself, and it is put on for as long as the tables are filled.
        """
        tried = revision in self._mended or revision in self._refused
        failing = error.details.get("statement")
        if tried or not self._filling.rows or not fails_to_validate(failing, error.details.get("sqlstate")):
            return False
        self._mended.add(revision)
        statements = self.stage.prepared[revision].statements
        pending, added = read_breakable(self._wire), added_before(self._wire, statements, failing)
        if breaks_for_any_row(self._wire, added, statements, failing):
            self._certain.add(revision)
            return False
        self._filling.clear()
        with put_on(self._wire, added) as held:
            satisfied = [*pending, *held]
            self._satisfied |= {one.oid: one for one in satisfied}
            self._filling.fill()
        return bool(satisfied)

    def _of_validated(self, revision: str) -> None:
        """Say what has to be so of production's rows, for ours were made so."""
        left = {one.oid for one in read_breakable(self._wire)}  # without what this file added itself
        for oid in self._satisfied.keys() - left:
            one = self._satisfied.pop(oid)
            self.proven.append(one)
            self.notes.append(
                f"{revision} validates {one.name} of {one.table}, and the made-up rows were made to satisfy that: rows that break it make VALIDATE fail in production. Count them first: {one.count}"
            )

    def _observe(self, log: Log) -> None:
        observe(self._target, self.stage, log, lambda: self._judge().facts, self.observed)

    def _ready(self, following: str) -> None:
        """What has to be there before the file ``following`` runs ("" after the last)."""
        item = self.stage.prepared.get(following)
        there = self.files or self.bases.plan.applied  # in an empty database there is nothing to fill
        if there and self._new_tables and (self._asked or self._needs_rows(following)):
            self._new_tables = False
            self._filling.fill()
        if item is not None and item.directives.after:
            self._probe.older.filled_in = True
            self._filling.backfill()
            self.notes.append(
                f"{following} waits for {', '.join(item.directives.after)}: its rows were filled in as if that were done"
            )
        if item is not None and item.down is not None:
            self.before[following] = read_shape(self._wire)

    def _after(self, file: AppliedFile) -> None:
        """A file is committed, and the next one has not begun."""
        self.files[file.revision] = file
        if file.revision in self._refused:
            self._of_rows(file.revision, self._refused[file.revision])
            self._satisfied.clear()  # rows were made to satisfy it, and there are none any more
        elif self._satisfied:
            self._of_validated(file.revision)
        statements = self.stage.prepared[file.revision].statements
        self._probe.older.applied((s.kind, s.text) for s in statements)
        self._new_tables = self._new_tables or self._may_make_tables(file.revision)
        number = self.pending.index(file.revision) + 1
        self._ready(self.pending[number] if number < len(self.pending) else "")
        self._probe.look(file.revision)
        self.bases.tell("applied", f"{file.revision}_{file.name} in {file.duration_ms} ms")

    def _of_rows(self, revision: str, error: LockgateError) -> None:
        """A file that only fails on rows, for it was applied without: certain where any row will do, else nobody can tell from here."""
        told = f"{revision} fails on tables that hold made-up rows and was applied without these: {error.message}"
        if str(error.details.get("statement", "")).lstrip().upper().startswith(_WRITES):
            # Rows that the file itself writes met ours, which says nothing about production's.
            self.notes.append(f"{told}; rows that it writes or reads itself met them")
            return
        if error.details.get("sqlstate") == _CERTAIN or revision in self._certain:
            self.checks.append(failed(f"rows:{revision}", told, error.code))
        else:
            self.checks.append(
                held(
                    f"rows:{revision}",
                    f"{told}. Production's rows may do better: count there what it would refuse; lockgate rehearse --rows 0 proves the files without made-up rows",
                    "DATA_DEPENDENT",
                )
            )

    def _facts(self, revision: str) -> list[StatementFacts]:
        """What the policy knows of the statements of a file."""
        known, facts = self.stage.prepared.get(revision), self._judge().facts
        numbers = range(1, len(known.statements) + 1) if known is not None else ()
        return [facts[revision, number] for number in numbers if (revision, number) in facts]

    def _may_make_tables(self, revision: str) -> bool:
        """Whether tables without rows may have come with the file."""
        return any(
            facts.kind.startswith("CREATE TABLE") or facts.opaque or not facts.understood
            for facts in self._facts(revision)
        )

    def _needs_rows(self, revision: str) -> bool:
        """Whether the file works on relations that are there already, or on who knows what."""
        return any(
            facts.locks or facts.scans or facts.rewrites or facts.opaque or not facts.understood
            for facts in self._facts(revision)
        )


def _depends_on_rows(error: LockgateError) -> bool:
    return isinstance(error, RunFailed) and str(error.details.get("sqlstate", ""))[:2] in OF_ROWS
