"""What an operator is told at three in the morning: the state of the world, commands that can be pasted, and the way back. Without a database."""

import shlex

import click
import msgspec
import pytest

from lockgate.cli.main import app
from lockgate.postgres.backups import BackupRow
from lockgate.postgres.releases import PauseRow, ReleaseRow, StepRow
from lockgate.record.reasons import REASONS, ROLLED_BACK, UNTOUCHED
from lockgate.release.calls import _CALL, whole
from lockgate.release.outlook import Outlook, next_of, state_of
from lockgate.release.recover import Situation, ways_back

SHA, ENV = "c" * 40, "production"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("lockgate up", f"lockgate release resume {SHA} --env production"),
        ("lockgate status, then lockgate up", f"lockgate status --env production, then lockgate release resume {SHA} --env production"),
        ("lockgate approve --env NAME, again", "lockgate approve --env production, again"),
        ("lockgate release --break-glass REASON", f"lockgate release --sha {SHA} --env production --break-glass REASON"),
        ("lockgate release show SHA --rebuild", f"lockgate release show --env production {SHA} --rebuild"),
        ("lockgate backup take --env production", "lockgate backup take --env production"),
        ("lockgate check tells each finding", "lockgate check tells each finding"),
        ("Look at the named queries; lockgate release recover", f"Look at the named queries; lockgate release recover {SHA} --env production"),
    ],
)  # fmt: skip
def test_commands_are_made_whole(text: str, told: str):
    """A command of the table gets the sha and the environment that it is about; doing it twice changes nothing."""
    assert whole(text, ENV, SHA) == told
    assert whole(told, ENV, SHA) == told


def test_a_sha_that_is_named_stays():
    """Doctor names the sha of the release that died; the environment comes behind it."""
    assert whole(f"lockgate release resume {SHA}", ENV) == f"lockgate release resume {SHA} --env production"
    assert (
        whole("lockgate release resume, or look", ENV) == "lockgate release resume --env production, or look"
    )


def test_every_command_of_the_table_takes_its_environment():
    """Whatever command a reason code names: where it works on a database it is made whole, and the command does take --env."""

    def find(words: list[str]) -> click.Command | None:
        found: click.Command | None = app
        for word in words:
            inner = found.get_command(click.Context(found), word) if isinstance(found, click.Group) else None
            if inner is None:
                break
            found = inner
        return None if found is app else found

    for row in REASONS.values():
        for match in _CALL.finditer(row.next):
            command = find((match["targeted"] or match["untargeted"]).split())
            assert command is not None, row.next
            takes = any("--env" in p.opts for p in command.params)
            assert takes == (match["targeted"] is not None), (row.code, match[0])


def told(name: str, state: str = "done", **more: object) -> dict[str, object]:
    return {"name": name, "state": state, "message": "", **more}


def test_state_of_the_world():
    """The row of a code cannot know how far the release had come; what is told does: files, traffic, workers."""
    early = Outlook(ENV, SHA, "approvals", [told("approvals", "failed")], 3)
    assert state_of("APPROVAL_MISSING", UNTOUCHED, early) == UNTOUCHED
    late = Outlook(
        ENV, SHA, "smoke", [told("rollout"), told("smoke", "failed")], 2, ("1", "2"), notes=("WORKERS HELD: they do not fit",)
    )  # fmt: skip
    said = state_of("CONFIG", UNTOUCHED, late)
    assert UNTOUCHED not in said
    assert "2 of 2 files of the plan are applied, up to 2" in said
    assert "Traffic: this release" in said
    assert "THE WORKERS STAY STOPPED: they do not fit" in said
    half = Outlook(ENV, SHA, "migrate", [told("migrate", "failed")], 2, ("1",))
    assert state_of("DEADLOCK", ROLLED_BACK, half).startswith(ROLLED_BACK)
    assert ROLLED_BACK not in state_of("CANCELLED", ROLLED_BACK, late)
    unread = Outlook(ENV, SHA, "migrate", [told("migrate", "failed")], 2, known=False)
    assert "could not be read" in state_of("UNREACHABLE", UNTOUCHED, unread)


def test_a_file_that_has_to_change_comes_with_a_new_sha():
    """After a failed statement the same sha can never pass: the next command is a release of another one, approved anew."""
    o = Outlook(ENV, SHA, "migrate", [told("migrate", "failed")], 1, protected=True)
    said = next_of("MIGRATION_EXECUTION_FAILED", REASONS["MIGRATION_EXECUTION_FAILED"].next, o)
    assert "--sha NEW-SHA" in said
    assert "lockgate approve --env production" in said
    assert SHA not in said


def test_rows_that_stood_in_the_way_can_be_mended():
    """After a violated constraint the same sha may go on once the rows are mended: said by the error and by recover."""
    o = Outlook(ENV, SHA, "migrate", [told("migrate", "failed")], 1)
    said = next_of("MIGRATION_EXECUTION_FAILED", REASONS["MIGRATION_EXECUTION_FAILED"].next, o, "23514")
    assert said.startswith(
        f"Mend the rows that are named, then lockgate release resume {SHA} --env {ENV}; or: "
    )
    assert "--sha NEW-SHA" in said
    rest = msgspec.structs.replace(
        o, applied=("1",), rehearsed=True, finds="SELECT * FROM t WHERE NOT (a > 0)"
    )
    said = next_of("MIGRATION_EXECUTION_FAILED", "", rest, "23514")
    assert said.startswith(
        f"Mend the rows that SELECT * FROM t WHERE NOT (a > 0) finds, then lockgate status --env {ENV} --format json > status.json; "
        f"lockgate rehearse --from-status status.json; lockgate release resume {SHA} --env {ENV}; or: "
    )
    seen = situation("failed", "MIGRATION_EXECUTION_FAILED", applied=("1",))
    failed = {"migrate": StepRow(6, "migrate", "failed", 1, 1.0, "", "", 0.0, evidence={"sqlstate": "23505"})}
    way = ways_back(msgspec.structs.replace(seen, steps=failed)).ways[0]
    assert way.possible
    assert way.commands[-1] == f"lockgate release resume {SHA} --env {ENV}"


def test_a_resume_of_half_a_plan_is_rehearsed_first():
    """Where a rehearsal is demanded and a kill left a part of the plan applied, recover names the rehearsal of the rest before the resume;
    not where all of it is applied."""
    seen = situation("running", steps=("migrate",), applied=("1",), rehearsed=True, died="t1")
    way = ways_back(seen).ways[0]
    assert (way.id, way.possible) == ("resume", True)
    assert way.commands == [
        f"lockgate status --env {ENV} --format json > status.json",
        "lockgate rehearse --from-status status.json",
        f"lockgate release resume {SHA} --env {ENV}",
    ]
    assert "a plan of its own, which has to be rehearsed first" in way.why
    whole_plan = ways_back(msgspec.structs.replace(seen, rest=False)).ways[0]
    assert whole_plan.commands == [f"lockgate release resume {SHA} --env {ENV}"]


def row(state: str, code: str = "", sequence: int = 2) -> ReleaseRow:
    return ReleaseRow("k", sequence, SHA, ENV, state, code, "", "ann", "", "", "", "", "", "", "", "")


def step(name: str, state: str = "done") -> StepRow:
    return StepRow(0, name, state, 1, 1.0, "", "", 0.0)


def situation(state: str, code: str = "", steps: tuple[str, ...] = (), **more: object) -> Situation:
    usual: dict[str, object] = {
        "previous": None, "backup": None, "applied": (), "contract": (), "partial": (), "pause": None, "protected": True, "wal_bytes": None,
        "configured_workers": True, "rollout": True, "variable": "PRODUCTION_URL",
    }  # fmt: skip
    return Situation(row(state, code), {name: step(name) for name in steps}, **{**usual, **more})  # type: ignore[arg-type]


AFTER = ("migrate", "rollout", "smoke")
OLD = row("succeeded", sequence=1)


@pytest.mark.parametrize(
    ("seen", "first"),
    [
        (situation("succeeded", steps=AFTER, applied=("1",), previous=OLD), "none"),
        (situation("running", live="ann on ci-7"), "wait"),
        (situation("failed", "APPROVAL_MISSING"), "resume"),
        (situation("failed", "CANDIDATE_IMAGE"), "forward"),
        (situation("failed", "MIGRATION_EXECUTION_FAILED", ("migrate",), applied=("1",)), "forward"),
        (situation("failed", "LOCK_TIMEOUT", ("migrate",), applied=("1",)), "resume"),
        (situation("failed", "API_SMOKE_ASSERTION_FAILED", AFTER, applied=("1",), previous=OLD), "previous-image"),
        (situation("failed", "API_SMOKE_ASSERTION_FAILED", AFTER, applied=("1",), contract=("1",), previous=OLD), "forward"),
        (situation("failed", "API_SMOKE_ASSERTION_FAILED", AFTER, applied=("1",), contract=("1",), protected=False), "down"),
        (situation("failed", "ROLLOUT_FAILED", ("migrate", "rollout"), applied=("1",)), "resume"),
        (situation("handed-off", steps=("migrate", "rollout"), applied=("1",)), "resume"),
        (situation("superseded"), "none"),
    ],
)  # fmt: skip
def test_which_way_first(seen: Situation, first: str):
    """Nothing after a success or while somebody releases; the previous image where what is live is wrong; a restore never only because a registry was down."""
    found = ways_back(seen)
    assert found.recommended == first
    for way in found.ways:
        assert way.possible or not way.commands
        for line in way.commands:
            if line.startswith("lockgate "):
                assert "--env production" in line
                shlex.split(line, comments=True)
    if seen.release.state == "succeeded":
        assert not next(w for w in found.ways if w.id == "resume").possible
    if seen.release.state == "handed-off":
        assert found.ways[0].commands == [f"lockgate release continue {SHA} --env production"]


def test_stopped_workers_name_the_command_that_lets_them_go():
    """Workers that stay stopped are told with the moment, the reason, and the call that resumes them."""
    pause = PauseRow("workers", "held", "lease", "k", "ann", "they do not fit", "t1", "t2", "t3", True)
    said = ways_back(situation("failed", "VERIFY_FAILED", AFTER, pause=pause)).workers
    assert "OVERDUE since t3" in said
    assert "lockgate release workers resume --env production --reason" in said
    assert ways_back(situation("failed", "VERIFY_FAILED", AFTER)).workers == "they were never paused"


def test_files_without_a_down_section_cannot_be_undone():
    """`down` is no way back where one of the applied files has no down section; its revision is named."""
    seen = situation("failed", "WATCH_FAILED", AFTER, applied=("1", "2"), protected=False)
    ways = {way.id: way for way in ways_back(seen).ways}
    assert ways["down"].possible
    seen = msgspec.structs.replace(seen, without_down=("2",))
    ways = {way.id: way for way in ways_back(seen).ways}
    assert (ways["down"].possible, ways["down"].why) == (False, "2 has no down section")


@pytest.mark.parametrize(
    ("code", "own", "told"),
    [
        ("APPROVAL_EXPIRED", "lockgate approve --env NAME, again", f"lockgate approve --env production, again; then lockgate release resume {SHA} --env production"),
        ("NO_HEADROOM", "Free connections.", f"Free connections; then lockgate release resume {SHA} --env production"),
        ("CANDIDATE_IMAGE", "Give --image", "Give --image"),
        ("FROZEN", "lockgate release --break-glass REASON", f"lockgate release --sha {SHA} --env production --break-glass REASON"),
    ],
)  # fmt: skip
def test_what_is_mended_outside_is_followed_by_the_resume(code: str, own: str, told: str):
    """An approval, a backup or free room does not end the release: the next command behind it does; where a resume would mean the same refused call, none is told."""
    assert next_of(code, own, Outlook(ENV, SHA, "proof")) == told


def test_a_restore_after_a_success_brings_another_sha():
    """A release that succeeded is gone back from because it is wrong: after the restore a newer sha is named, not its own."""
    kept = BackupRow(
        **dict.fromkeys(BackupRow.__struct_fields__, "")
        | {"backup_id": "b1", "provider": "pg_dump", "detail": {}}
    )
    way = next(w for w in ways_back(situation("succeeded", backup=kept)).ways if w.id == "restore")
    assert way.commands[-1].startswith(f"lockgate release --sha NEW-SHA --env {ENV} ")
    assert SHA not in way.commands[-1]
