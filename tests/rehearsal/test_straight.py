"""Replays from nothing that send many files at once: they leave what the engine of ``up`` leaves, and say what it says."""

from collections.abc import Callable

import pytest

from lockgate.errors import RunFailed
from lockgate.migrations.history import read_history
from lockgate.migrations.progress import Log
from lockgate.postgres.alarm import Alarm
from lockgate.postgres.fingerprint import read_fingerprint
from lockgate.postgres.scratch import Ground
from lockgate.postgres.wire import Wire
from lockgate.rehearsal.replay import replay
from lockgate.rehearsal.report import Rehearsal
from lockgate.rehearsal.straight import Unusual
from rehearsal.rehearsals import FIRST, stage_of

ORDINARY = (
    "create table t (id int primary key, a text); insert into t values (1, 'x');",
    "-- lockgate: statement_timeout=7s\nalter table t add column b int default 3;\nupdate t set b = id;",
    "create type mood as enum ('sad');",
    "alter type mood add value 'glad';",
    "create table moods (m mood default 'glad');",
)


def left_by(ground: Ground, name: str) -> tuple[str, str, list[str]]:
    """The digest of the schema, why the history does not hold, and its revisions."""
    wire = Wire(ground.at(name), "looking")
    try:
        history = read_history(wire)
        return read_fingerprint(wire).digest, history.broken, [row.revision for row in history.rows]
    finally:
        wire.close()


@pytest.mark.postgres("16", "18")
def test_it_leaves_what_the_engine_leaves(ground: Ground) -> None:
    """Ordinary files, one with its own limit and one that uses what the one before added: the same schema, and a history that holds."""
    with Alarm() as alarm:
        stage = stage_of(alarm, *ORDINARY)
        slow, quick = ground.create(), ground.create()
        replay(ground.at(slow), stage, Log())
        log = Log()
        replay(ground.at(quick), stage, log, straight=True)
    assert not log.applied, "nothing was left to the engine"
    assert left_by(ground, quick) == left_by(ground, slow)
    assert left_by(ground, quick)[1:] == ("", [str(FIRST + n) for n in range(len(ORDINARY))])


@pytest.mark.postgres("16", "18")
def test_what_is_not_plain_is_left_to_the_engine(ground: Ground) -> None:
    """From the first file on that runs outside a transaction or sets something, the engine goes on in the same database."""
    files = (
        *ORDINARY,
        "-- lockgate: transaction=off\ncreate index concurrently t_a on t (a);",
        "set work_mem = '4MB';",
    )
    with Alarm() as alarm:
        stage = stage_of(alarm, *files)
        name, log = ground.create(), Log()
        replay(ground.at(name), stage, log, straight=True)
    assert [int(file.revision) - FIRST for file in log.applied] == [5, 6]
    assert left_by(ground, name)[1:] == ("", [str(FIRST + n) for n in range(len(files))])


@pytest.mark.postgres("16", "18")
def test_a_file_that_fails(ground: Ground) -> None:
    """The file is left to the engine on a new database: what is before it stands there, what comes after it did not run, and the error names it."""
    files = (*ORDINARY, "alter table t add column b int;", "create table after (id int);")
    revisions = [str(FIRST + n) for n in range(len(ORDINARY) + 1)]
    with Alarm() as alarm:
        stage = stage_of(alarm, *files)
        with pytest.raises(Unusual):
            replay(ground.at(ground.create()), stage, Log(), straight=True)
        name = ground.create()
        with pytest.raises(RunFailed) as caught:
            replay(ground.at(name), stage, Log())
    assert caught.value.details.get("revision") == revisions[-1]
    assert left_by(ground, name)[2] == revisions[:-1]


@pytest.mark.postgres("16", "18")
def test_a_file_that_fails_for_what_another_left(rehearse: Callable[..., Rehearsal]) -> None:
    """A temporary table that hides a real one from a later file is not there for the engine: the file that failed for it alone is replayed."""
    files = (
        "create temporary table t (id int);",
        "create table public.t (id int, a text);",
        "alter table t alter column a set default 'x';",
    )
    answers = {check.id: str(check.answer) for check in rehearse(*files).checks}
    assert answers["schema-digest"] == "pass"


@pytest.mark.postgres("18")
def test_a_role_that_is_missing(ground: Ground, rehearse: Callable[..., Rehearsal]) -> None:
    """A role that a file names and the server lacks is made, and the replay from nothing goes on."""
    found = rehearse("create table t (id int);", "grant select on t to lockgate_straight_reader;", base=2)
    assert any("role lockgate_straight_reader was made" in note for note in found.notes), found.notes


@pytest.mark.postgres("18")
def test_a_file_that_leaves_something_behind(ground: Ground, rehearse: Callable[..., Rehearsal]) -> None:
    """A setting that nothing in the text tells of is found afterwards, and the replay is made anew, file by file: its digest is right."""
    hidden = "create schema s;\ndo $$ begin execute format('set %s = s', 'search_path'); end $$;"
    files = (hidden, "create table t (id int);")
    with Alarm() as alarm, pytest.raises(Unusual):
        replay(ground.at(ground.create()), stage_of(alarm, *files), Log(), straight=True)
    found = rehearse(*files)
    answers = {check.id: str(check.answer) for check in found.checks}
    assert answers["schema-digest"] == "pass"


@pytest.mark.postgres("16", "18")
def test_what_a_trigger_reads_at_commit_is_of_its_own_file(rehearse: Callable[..., Rehearsal]) -> None:
    """A deferred trigger reads a table when its file commits; the next file, which only adds a column to it, is not told to have read it."""
    setting = (
        "create table t (id int primary key); create table u (id int primary key);\n"
        "create function look() returns trigger language plpgsql as $$ begin perform count(*) from t; return null; end $$;\n"
        "create constraint trigger late after insert on u deferrable initially deferred for each row execute function look();"
    )
    found = rehearse(setting, "insert into u values (10001);", "alter table t add column b int;", base=1)
    assert [s.scans for m in found.migrations for s in m.statements] == [[], []]
