"""The way back from a release that failed: a decision over what is known, and the exact commands with their ids. No database here."""

import shlex
from collections.abc import Mapping

import msgspec

from lockgate.postgres.backups import BackupRow
from lockgate.postgres.releases import PauseRow, ReleaseRow, StepRow
from lockgate.record.words import agree, counted
from lockgate.release.calls import whole
from lockgate.release.outlook import IN_THE_CALL, REHEARSE, in_the_file, named, of_the_data

WRONG = frozenset(
    {"ROLLOUT_FAILED", "API_SMOKE_ASSERTION_FAILED", "API_SMOKE_RUNTIME_ERROR", "WATCH_FAILED", "VERIFY_FAILED"}
)  # fmt: skip
"""What says that the thing released is wrong: going back comes first."""


class Situation(msgspec.Struct, frozen=True):
    """What is known: the release and its steps, the one before it, the backup, and what of the plan is applied.

    ``live`` names who releases right now, "" when nobody does; ``variable`` holds the URL of the environment.
    """

    release: ReleaseRow
    steps: Mapping[str, StepRow]
    previous: ReleaseRow | None
    backup: BackupRow | None
    applied: tuple[str, ...]
    contract: tuple[str, ...]
    partial: tuple[str, ...]
    pause: PauseRow | None
    protected: bool
    wal_bytes: int | None
    configured_workers: bool
    rollout: bool
    live: str = ""
    variable: str = ""
    without_down: tuple[str, ...] = ()
    """The applied files that no ``down`` can undo."""
    finds: str = ""
    """The SELECT that finds the rows that stood in the way of the migration, where it is known."""
    rehearsed: bool = False
    """A rehearsal is demanded: the rest of a plan is another plan than the whole."""
    died: str = ""
    """The last sign of life of a release that is shown as running and that nobody runs."""
    migrating: str = ""
    """Who runs a migration in the database now, also one whose release is dead; "" when nobody does."""

    rest: bool = True
    """Not all of the plan is applied."""

    @property
    def harmless(self) -> bool:
        """Nothing of it is durable: no file applied or half done, and the rollout was not begun."""
        return not self.applied and not self.partial and "rollout" not in self.steps


class Way(msgspec.Struct, frozen=True, rename="camel"):
    """One way: whether it can be taken, why (not), and what to type, in order."""

    id: str
    title: str
    possible: bool
    why: str
    commands: list[str] = []


class Recovery(msgspec.Struct, frozen=True, rename="camel"):
    """All ways, the one to take first, and what each costs."""

    release_key: str
    sha: str
    state: str
    reason_code: str
    recommended: str
    ways: list[Way]
    writes_lost: str
    workers: str
    migrating: str
    died: str


def ways_back(s: Situation) -> Recovery:
    """Every way, and the one to take first: none for a release that succeeded or is under way."""
    env = f" --env {shlex.quote(s.release.environment)}" if s.release.environment else ""
    ways = [_resume(s, env), _forward(s, env), _previous_image(s, env), _down(s, env), _restore(s, env)]
    lost = "nothing: the database stays"
    if s.backup is not None:
        size = f", {s.wal_bytes} bytes of log" if s.wal_bytes is not None else ""
        lost = f"a restore loses what was written since LSN {s.backup.lsn} ({s.backup.finished_at}){size}"
    return Recovery(
        s.release.release_key,
        s.release.sha,
        s.release.state,
        s.release.reason_code,
        _first(s, {way.id for way in ways if way.possible}),
        ways,
        lost,
        _workers(s, env),
        s.migrating,
        s.died,
    )


def _first(s: Situation, possible: set[str]) -> str:
    """The way to take first: the previous image, else ``down``, where what was released is wrong; else forward, where nothing is."""
    if s.live:
        return "wait"
    if s.release.state in ("succeeded", "superseded"):
        return "none"
    if s.migrating:
        return "wait"
    if s.harmless:
        order = ["resume", "forward"]
    elif s.release.reason_code in WRONG:
        # A restore loses writes, so it comes first only where the schema or its data is what is wrong.
        last = {
            "VERIFY_FAILED": ["restore"],
            "ROLLOUT_FAILED": ["resume"],
            "API_SMOKE_RUNTIME_ERROR": ["resume"],
        }
        order = ["previous-image", "down", *last.get(s.release.reason_code, []), "forward", "restore"]
    else:
        order = ["resume", "forward", "previous-image", "down", "restore"]
    return next((way for way in order if way in possible), "call")


def _workers(s: Situation, env: str) -> str:
    p = s.pause
    if p is None:
        return "they were never paused"
    if p.state == "resumed":
        return f"they run: paused at {p.paused_at}, resumed at {p.resumed_at}"
    overdue = f"; OVERDUE since {p.expires_at}" if p.overdue else ""
    return f"{p.state} since {p.paused_at}, THEY DO NOT RUN: {p.reason}{overdue}; once they fit: lockgate release workers resume{env} --reason TEXT"


def _stop_workers(s: Situation, env: str) -> list[str]:
    if not s.configured_workers or (s.pause is not None and s.pause.state in ("paused", "held")):
        return []
    return [f"lockgate release workers pause{env} --reason 'going back from {s.release.sha[:12]}'"]


def _resume(s: Situation, env: str) -> Way:
    title, code = "Mend the cause and go on", s.release.reason_code
    if s.live:
        return Way(
            "resume",
            title,
            False,
            f"a release is under way: {s.live}; wait for it, or end that process first",
        )
    if s.release.state in ("succeeded", "superseded"):
        told = "it succeeded" if s.release.state == "succeeded" else "a newer release took over"
        return Way("resume", title, False, f"{told}: there is nothing to go on with")
    if s.migrating:
        return Way("resume", title, False, f"a migration runs still: {s.migrating}; wait for it, or end it first")  # fmt: skip
    migrate = s.steps.get("migrate")
    if migrate is not None and of_the_data(code, str(migrate.evidence.get("sqlstate", ""))):
        return Way(
            "resume", f"Mend {'the rows that stand in the way' if s.finds else named('')}, and go on", True, f"rows stood in its way: {s.release.message}",
            [
                f"# mend {named(s.finds)}, where they are wrong and the file is right",
                *_rehearse(s),
                f"lockgate release resume {s.release.sha}{env}",
            ],
        )  # fmt: skip
    if in_the_file(code, migrate.evidence if migrate is not None else None):
        return Way("resume", title, False, f"{code}: a file has to change, so it comes with another sha")
    if code in IN_THE_CALL:
        return Way("resume", title, False, f"{code}: a resume means the same call, which was refused")
    if s.release.state == "handed-off":
        return Way(
            "resume", "Go on once the other deployer is done", True, "it was handed off", [f"lockgate release continue {s.release.sha}{env}"]
        )  # fmt: skip
    if code in WRONG:
        why = "only when the cause lies outside of what was released (a registry, a token, data): what failed is done again"
    elif s.harmless:
        why = "nothing of the plan is applied"
    else:
        why = f"{counted(len(s.applied), 'file')} {agree(len(s.applied), 'is applied and stands', 'are applied and stand')}; the rest is still to do"
    first = _rehearse(s)
    if first:
        why += ", and that is a plan of its own, which has to be rehearsed first"
    return Way("resume", title, True, why, [*first, f"lockgate release resume {s.release.sha}{env}"])


def _rehearse(s: Situation) -> list[str]:
    """The rehearsal without which a resume would be refused: the rest of a plan that was applied in part is another plan."""
    if not s.rehearsed or not s.applied or not s.rest:
        return []
    return whole(REHEARSE, s.release.environment).split("; ")


def _forward(s: Situation, env: str) -> Way:
    title = "Release a newer sha that mends it"
    if s.live or s.release.state in ("succeeded", "superseded"):
        return Way("forward", title, False, "there is nothing to mend")
    if s.release.reason_code in IN_THE_CALL:
        call = f"lockgate release --sha {s.release.sha}{env} --image NAME@sha256:DIGEST --rollback-image NAME@sha256:DIGEST"
        return Way(
            "forward", "Release again, called rightly", True, "the call was refused, not the files", [call]
        )
    commands = (
        [f"lockgate approve{env} --role ROLE    # by others: the plan is a new one"] if s.protected else []
    )
    return Way(
        "forward", title, True, "what is applied stands; a new commit brings the rest", [*commands, f"lockgate release --sha NEW-SHA{env}"]
    )  # fmt: skip


def _previous_image(s: Situation, env: str) -> Way:
    title, name = "Redeploy the previous image; the schema stays", "previous-image"
    if s.previous is None:
        return Way(name, title, False, "no release of another sha succeeded here before")
    if "rollout" not in s.steps:
        return Way(name, title, False, "it serves still: the rollout was not reached")
    if s.contract:
        return Way(
            name, title, False, f"{', '.join(s.contract)} of the contract phase took away what it needs"
        )
    if s.partial:
        return Way(name, title, False, f"{', '.join(s.partial)} stopped half way")
    image = s.release.rollback_digest or s.previous.image_digest
    command = f"lockgate release replay {s.previous.sha}{env} --reason {shlex.quote('back from ' + s.release.sha[:12])}"
    if image:
        command += f" --image {image}"
    told = "every applied file is of the expand phase, which the previous image fits"
    own = (
        []
        if s.rollout
        else [f"# deploy {image or 'the image of ' + s.previous.sha} with your own deployer first"]
    )
    return Way(name, title, True, told, [*_stop_workers(s, env), *own, command])


def _down(s: Situation, env: str) -> Way:
    title = "Undo the applied files with their down sections"
    if s.protected:
        return Way("down", title, False, "the environment is protected: forward, or the backup")
    if not s.applied:
        return Way("down", title, False, "nothing of the plan is applied")
    if s.without_down:
        told = f"{', '.join(s.without_down)} {agree(len(s.without_down), 'has', 'have')} no down section"
        return Way("down", title, False, told)
    return Way(
        "down", title, True, f"{counted(len(s.applied), 'file')}, newest first; each has a down section",
        [*_stop_workers(s, env), *[f"lockgate down{env}" for _ in s.applied]],
    )  # fmt: skip


def _restore(s: Situation, env: str) -> Way:
    title, b = "Restore the backup into a new database, then apply again under control", s.backup
    if b is None:
        return Way("restore", title, False, "no verified backup is recorded for this release")
    into = f"restored_{b.backup_id[:15].lower()}"
    lines = [*_stop_workers(s, env), f"lockgate backup verify {b.backup_id}{env}"]
    if b.provider == "restore-point":
        into = "that server"
        lines += [
            f"# restore the newest base backup before LSN {b.lsn} to a new server with:",
            f"#   recovery_target_name = '{b.detail.get('restorePoint', '')}'    (or recovery_target_time = '{b.finished_at}')",
            "#   recovery_target_action = 'pause'",
        ]
    elif b.provider == "pg_basebackup":
        lines += [
            f"lockgate backup restore {b.backup_id} --into {into}{env}    # a folder for a new server",
            f"# for a later point, in that folder: recovery.signal, restore_command, recovery_target_time = '{b.finished_at}' or later",
        ]
        into = "that server"
    else:
        lines.append(f"lockgate backup restore {b.backup_id} --into {into}{env}")
    lines += [
        f"# point {s.variable or 'the URL of this environment'} at {into}",
        f"lockgate status{env}",
        f"lockgate verify{env}    # what is pending there comes with the release",
        f"lockgate release --sha NEW-SHA{env}    # the newer sha that mends what was wrong"
        if s.release.state == "succeeded"
        else f"lockgate release --sha {s.release.sha}{env}    # when the cause is mended; else the newer sha that mends it",
    ]
    return Way(
        "restore", title, True, f"{b.provider} {b.backup_id}, LSN {b.lsn}, verified by {b.verified_by}", lines
    )
