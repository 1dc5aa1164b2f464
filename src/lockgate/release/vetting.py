"""What is wrong with the pending files themselves: the file contract, then the policy, before anything is kept.

Many files take their time. They are judged in a copy of this process, and prepared here, while the server lets the run in.
Many databases that lack the same files share one answer.
"""

import threading
from collections.abc import Callable, Hashable
from datetime import date
from typing import TYPE_CHECKING

import msgspec

from lockgate.config import Settings
from lockgate.migrations.files import Migration
from lockgate.migrations.history import History
from lockgate.migrations.plan import Plan
from lockgate.postgres.guard import Guard
from lockgate.postgres.settings import Facts
from lockgate.postgres.target import Target
from lockgate.release.authorise import refuse_findings
from lockgate.release.beside import Beside, worth_it
from lockgate.release.judged import Judged
from lockgate.release.project import Files, prepare_files, refuse_problems

if TYPE_CHECKING:
    from lockgate.migrations.contract import Prepared


class Vetted:
    """What the vetting of one database found and another asks again: the same files under the same settings. Safe in threads.

    Who asks while another works on an answer waits for it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._prepared: dict[str, Prepared] = {}
        self._judged: dict[Hashable, Judged] = {}

    def prepare(self, files: tuple[Migration, ...], settings: Settings) -> "dict[str, Prepared]":
        """These files, split and held against the file contract, by revision. Raises ``CheckFailed``."""
        with self._lock:
            missing = tuple(m for m in files if m.revision not in self._prepared)
            if missing:
                prepared, problems = prepare_files(missing, settings)
                refuse_problems(problems)
                self._prepared.update(prepared)
            return {m.revision: self._prepared[m.revision] for m in files}

    def judge(self, question: Hashable, ask: Callable[[], Judged]) -> Judged:
        """The answer to ``question``, by which everything is named that it depends on beside files and settings."""
        with self._lock:
            if question not in self._judged:
                self._judged[question] = ask()
            return self._judged[question]


class Vetting:
    """The pending files of one run, split and judged once. ``tell`` hears what the policy notes about them.

    ``prepared`` has every file that was asked for so far, by revision. ``vetted`` is what runs on other databases found.
    """

    def __init__(
        self,
        files: Files,
        settings: Settings,
        target: Target,
        today: date,
        tell: Callable[[str], None],
        vetted: Vetted | None = None,
    ) -> None:
        self.prepared: dict[str, Prepared] = {}
        self._vetted = vetted or Vetted()
        self._files = files
        self._settings = settings
        self._configured = bool(target.environment)
        self._today = today
        self._tell = tell
        self._judged: Judged | None = None
        self._judging: Beside[Judged] | None = None

    def begin(self, plan: Plan, history: History, facts: Facts) -> Callable[[], None] | None:
        """Vet the pending files of ``plan`` now, or, when they are many, start with it: then what comes back ends it.

        Raises ``Refused`` and ``CheckFailed``, here or there.
        """
        if not self.forks(plan):
            self._vet(plan, history, facts)
            return None
        self._judging = Beside(lambda: self._ask(plan, history, facts), Judged)
        return lambda: self._vet(plan, history, facts)

    def forks(self, plan: Plan) -> bool:
        """True when ``begin`` makes a copy of this process, which gets whatever is open in it."""
        return worth_it(len(plan.pending))

    def close(self) -> None:
        """End the copy of this process that still judges, if there is one."""
        if self._judging is not None:
            self._judging.close()

    def prepare(self, plan: Plan) -> None:
        """Split every pending file and hold it against the file contract. Raises ``CheckFailed``."""
        wanted = {revision for revision, _ in plan.pending} - self.prepared.keys()
        if wanted:
            files = tuple(m for m in self._files.migrations if m.revision in wanted)
            self.prepared.update(self._vetted.prepare(files, self._settings))

    def judge(self, plan: Plan, history: History, facts: Facts) -> Judged:
        """Ask the policy about every pending file; what was asked before the lock is not asked again."""
        wanted = frozenset(revision for revision, _ in plan.pending)
        judged = self._judged
        if self._judging is not None:
            judged, self._judging = self._judging.result(), None
            if judged is not None:
                self._heard(judged)
        if judged is None or not wanted <= judged.revisions:
            judged = self._heard(self._ask(plan, history, facts))
        self._judged = judged
        return judged

    def _vet(self, plan: Plan, history: History, facts: Facts) -> None:
        self.prepare(plan)
        refuse_findings(plan, self.judge(plan, history, facts))

    def _heard(self, judged: Judged) -> Judged:
        for note in judged.notes:
            self._tell(note)
        return judged

    def _ask(self, plan: Plan, history: History, facts: Facts) -> Judged:
        pending, begun = frozenset(revision for revision, _ in plan.pending), frozenset(history.partial)
        server, fresh = facts.version // 10000, not plan.base

        def ask() -> Judged:
            from lockgate.release.judging import judge_pending

            return judge_pending(
                self._files.migrations, pending, self._settings, server=server, configured=self._configured, fresh=fresh, today=self._today, begun=begun
            )  # fmt: skip

        return self._vetted.judge((pending, server, self._configured, fresh, self._today, begun), ask)


def of_the_rest(guard: Guard, history: History, judged: Judged) -> Judged:
    """Half-done files were permitted when they began; what is done of them stands, what is still to run is judged as it is now."""
    if not history.partial:
        return judged
    rows = guard.work.one(
        "SELECT revision_id, pg_catalog.count(*)::text FROM lockgate.migration_step WHERE state = 'done' GROUP BY 1"
    ).rows
    done = {row[0]: int(row[1] or 0) for row in rows}
    rest = tuple(
        found
        for found in judged.findings
        if found.file[:13] not in judged.begun or found.statement >= done.get(found.file[:13], 0)
    )
    return msgspec.structs.replace(judged, findings=rest, begun=frozenset())
