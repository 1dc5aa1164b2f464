"""What an operator is told of a release that stopped: the state of the world by what the journal and the history hold, and the exact next command."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from lockgate.record.reasons import ROLLED_BACK, UNTOUCHED, reason
from lockgate.record.words import agree, counted
from lockgate.release.calls import whole

HARMLESS = frozenset({"window", "candidate", "proof", "approvals", "backup"})
"""Steps that change nothing of what is live."""
HELD = "WORKERS HELD:"
"""How the note begins that says why workers stay stopped."""
IN_THE_FILE = frozenset(
    {"MIGRATION_EXECUTION_FAILED", "STATEMENT_TIMEOUT", "FILE_TIMEOUT", "SESSION_LEAK", "POLICY_REFUSED", "OUT_OF_ORDER"}
)  # fmt: skip
"""What only a changed file mends: another commit, so another sha and another plan."""


IN_THE_CALL = frozenset(
    {"CANDIDATE_IMAGE", "CANDIDATE_STALE", "CANDIDATE_INCOMPATIBLE", "ROLLBACK_IMAGE_INCOMPATIBLE", "MIGRATIONS_REQUIRED"}
)  # fmt: skip
"""What a resume would be refused for again, because it means the same call."""
CAME = "cameToTheDatabase"
"""In the evidence of the step ``migrate``: whether a job that failed left a run in the database."""


REHEARSE = "lockgate status --format json > status.json; lockgate rehearse --from-status status.json"
"""The rehearsal of what is still to do, on top of what is applied."""


def in_the_file(code: str, migrate: Mapping[str, Any] | None) -> bool:
    """Whether only a changed file mends it, by the code and the evidence of the step ``migrate``: a job that never came so far read none."""
    return code in IN_THE_FILE and (migrate or {}).get(CAME) is not False


def of_the_data(code: str, sqlstate: str) -> bool:
    """Whether rows stood in the way of a statement (not null, foreign key, unique, check, exclusion): mending them lets the same file pass."""
    return code == "MIGRATION_EXECUTION_FAILED" and sqlstate.startswith("23")


def named(finds: str) -> str:
    """The rows that have to be mended, in words."""
    return f"the rows that {finds} finds" if finds else "the rows that are named"


class Outlook(msgspec.Struct, frozen=True):
    """What is so when a release stops. ``known`` is False when the history could not be read."""

    environment: str
    sha: str
    at: str
    """The step that it stopped in; "" before the first one."""
    steps: Sequence[Mapping[str, Any]] = ()
    planned: int = 0
    applied: tuple[str, ...] = ()
    partial: tuple[str, ...] = ()
    known: bool = True
    protected: bool = False
    notes: tuple[str, ...] = ()
    finds: str = ""
    """The SELECT that finds the rows that stood in the way, where it is known."""
    rehearsed: bool = False
    """A rehearsal is demanded: the rest of a plan is another plan than the whole."""


def state_of(code: str, own: str, o: Outlook) -> str:
    """The state of the world: what the error itself says where it says more than its row, then what stands and who serves."""
    if not o.at or (o.at in HARMLESS and o.known and not o.applied and not o.partial):
        return own
    # The row of a code cannot know how far the release had come: outside of the migration itself, what it says of the world is left out.
    general = (UNTOUCHED,) if o.at == "migrate" else (UNTOUCHED, ROLLED_BACK, reason(code).state)
    said = [] if own in general else [own]
    return " ".join([*said, _applied(o), f"Traffic: {traffic_of(o.steps)}.", *_workers(o.notes)])


def next_of(code: str, own: str, o: Outlook, sqlstate: str = "") -> str:
    """The next command, whole. A file that has to change comes with a new sha."""
    migrate = next((step for step in o.steps if step["name"] == "migrate"), None)
    if in_the_file(code, migrate.get("evidence") if migrate else None):
        approve = (
            f"have the new plan approved (lockgate approve --env {o.environment}), " if o.protected else ""
        )
        rehearse = f"{REHEARSE}; " if o.rehearsed and o.applied else ""
        mend = f"Mend {named(o.finds)}, then {rehearse}lockgate release resume"
        rows = f"{whole(mend, o.environment, o.sha)}; or: " if of_the_data(code, sqlstate) else ""
        return rows + whole(
            f"Mend the file in a new commit (it is not applied), {approve}then lockgate release --sha NEW-SHA",
            o.environment,
        )
    told = whole(own, o.environment, o.sha)
    if o.at in HARMLESS and code not in IN_THE_CALL | {"BUG", "FENCED"} and "lockgate release" not in told:
        # What is mended outside of the release (an approval, a backup, a grant) does not end it.
        told = f"{told.rstrip('.; ')}; then {whole('lockgate release resume', o.environment, o.sha)}"
    return told


def traffic_of(steps: Sequence[Mapping[str, Any]]) -> str:
    """Who owns the traffic: one of the two facts that an operator needs first."""
    rollout = next((s for s in steps if s["name"] == "rollout"), None)
    if rollout is None:
        return "the release before; the rollout was not reached"
    if rollout["state"] == "done":
        return "this release; it is rolled out"
    if rollout["state"] == "skipped":
        return f"not moved by this release ({rollout['message']})"
    return "not known; the rollout began and did not end well"


def _applied(o: Outlook) -> str:
    if not o.known:
        return "What is applied could not be read."
    half = f" {', '.join(o.partial)} stopped half way." if o.partial else ""
    if not o.planned:
        return f"There was nothing to apply.{half}"
    if not o.applied:
        return f"Nothing of the plan is applied.{half}"
    every = "all" if len(o.applied) == o.planned else "the rest is not"
    return f"{len(o.applied)} of {counted(o.planned, 'file')} of the plan {agree(len(o.applied), 'is', 'are')} applied, up to {o.applied[-1]} ({every}).{half}"


def _workers(notes: Sequence[str]) -> list[str]:
    """What became of the workers; loudly where they stay stopped."""
    told = {"workers resumed": "Workers resumed", HELD: "THE WORKERS STAY STOPPED:"}
    return [
        f"{word}{note.removeprefix(start)}." for note in notes for start, word in told.items() if note.startswith(start)
    ]  # fmt: skip
