"""What to run is a pure function of files and history: the same input gives the same plan, a wrong one its obstacle."""

import hashlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.migrations.files import Migration
from lockgate.migrations.history import History, Row
from lockgate.migrations.plan import Plan, plan_hash, resolve

MANY = settings(deadline=None, max_examples=200)


def migration(number: int, text: str = "SELECT 1;") -> Migration:
    """The file of revision ``number``."""
    revision = f"{number:013d}"
    return Migration(revision, "a", f"{revision}_a.sql", hashlib.sha256(text.encode()).hexdigest(), text)


def row(file: Migration) -> Row:
    """The history row that applying ``file`` leaves."""
    return Row(file.revision, file.checksum, file.name)


def history(files: tuple[Migration, ...]) -> History:
    """The history of a database that has applied ``files``."""
    return History(tuple(map(row, files)))


@st.composite
def projects(draw: st.DrawFn, least: int = 0) -> tuple[tuple[Migration, ...], int]:
    """Files in order, and how many of them are applied."""
    numbers = sorted(draw(st.sets(st.integers(1, 9_999_999_999_999), min_size=max(least, 1), max_size=8)))
    files = tuple(migration(number, f"SELECT {draw(st.integers(0, 3))};") for number in numbers)
    return files, draw(st.integers(least, len(files)))


@MANY
@given(projects(), st.randoms(use_true_random=False))
def test_pending_is_what_is_not_applied(project: tuple[tuple[Migration, ...], int], random):
    """A clean project: pending are exactly the files that are not applied, oldest first, however the files were listed."""
    files, done = project
    shuffled = list(files)
    random.shuffle(shuffled)
    plan = resolve(tuple(shuffled), history(files[:done]))
    assert plan.pending == tuple((f.revision, f.checksum) for f in files[done:])
    assert plan.applied == tuple((f.revision, f.checksum) for f in files[:done])
    assert plan.obstacles == ()
    assert plan.base == (files[done - 1].revision if done else "")
    assert plan.goal == files[-1].revision
    assert resolve(files, history(files[:done])) == plan, "pure: asked again it says the same"


@MANY
@given(projects(), projects())
def test_hashes_are_equal_when_content_is(
    one: tuple[tuple[Migration, ...], int], other: tuple[tuple[Migration, ...], int]
):
    """Two plans have one hash if and only if they would apply the same bytes on top of the same bytes."""
    a, b = (resolve(files, history(files[:done])) for files, done in (one, other))
    assert (a.hash == b.hash) == ((a.applied, a.pending) == (b.applied, b.pending))
    files, done = one
    renamed = tuple(msgspec.structs.replace(f, name="z", file=f"{f.revision}_z.sql") for f in files)
    assert resolve(renamed, history(files[:done])).hash == a.hash, "a name is not content"


@MANY
@given(projects(), st.data())
def test_going_on_where_a_run_stopped(project: tuple[tuple[Migration, ...], int], data: st.DataObject):
    """After any prefix of the plan was applied the new plan is the rest; after all of it nothing is left."""
    files, done = project
    plan = resolve(files, history(files[:done]))
    more = data.draw(st.integers(0, len(plan.pending)))
    rest = resolve(files, history(files[: done + more]))
    assert rest.pending == plan.pending[more:]
    assert rest.obstacles == ()
    assert rest.applied + rest.pending == plan.applied + plan.pending
    finished = resolve(files, history(files))
    assert (finished.pending, finished.obstacles) == ((), ())


@MANY
@given(projects(), st.data())
def test_a_plan_is_data(project: tuple[tuple[Migration, ...], int], data: st.DataObject):
    """A plan written as JSON and read back is the same plan, and its hash is that of its content."""
    files, done = project
    plan = resolve(files, history(files[:done]))
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan
    assert plan.hash == plan_hash(plan.applied, plan.pending)


@MANY
@given(projects(least=1), st.data())
def test_an_edited_applied_file(project: tuple[tuple[Migration, ...], int], data: st.DataObject):
    """One changed byte in an applied file: CHECKSUM_MISMATCH for that file and nothing else."""
    files, done = project
    at = data.draw(st.integers(0, done - 1))
    edited = (*files[:at], migration(int(files[at].revision), files[at].text + " "), *files[at + 1 :])
    assert found(edited, files[:done]) == [("CHECKSUM_MISMATCH", files[at].revision)]


@MANY
@given(projects(least=1), st.data())
def test_a_missing_applied_file(project: tuple[tuple[Migration, ...], int], data: st.DataObject):
    """A lost applied file is MIGRATION_MISSING while a newer file is there, HISTORY_AHEAD when none is."""
    files, done = project
    at = data.draw(st.integers(0, done - 1))
    left = files[:at] + files[at + 1 :]
    code = "MIGRATION_MISSING" if left and left[-1].revision > files[at].revision else "HISTORY_AHEAD"
    assert found(left, files[:done]) == [(code, files[at].revision)]


@MANY
@given(projects(least=1), st.data())
def test_an_older_checkout(project: tuple[tuple[Migration, ...], int], data: st.DataObject):
    """A checkout that lacks the newest files is behind: HISTORY_AHEAD for each of them, first the oldest."""
    files, done = project
    known = data.draw(st.integers(0, done - 1))
    assert found(files[:known], files[:done]) == [("HISTORY_AHEAD", f.revision) for f in files[known:done]]


@MANY
@given(projects(least=1), st.integers(0, 9_999_999_999_999))
def test_a_file_from_another_branch(project: tuple[tuple[Migration, ...], int], number: int):
    """A new file that is older than the newest applied revision is OUT_OF_ORDER; one that is newer is simply pending."""
    files, done = project
    late = migration(number)
    if late.revision in {f.revision for f in files}:
        return
    plan = resolve((*files, late), history(files[:done]))
    early = late.revision < files[done - 1].revision
    assert [(o.code, o.revision) for o in plan.obstacles] == (
        [("OUT_OF_ORDER", late.revision)] if early else []
    )
    assert (late.revision, late.checksum) in plan.pending


@MANY
@given(projects(), st.text(min_size=1, max_size=5))
def test_a_broken_chain_comes_first(project: tuple[tuple[Migration, ...], int], words: str):
    """A history whose chain is broken is told before anything that follows from it."""
    files, done = project
    broken = msgspec.structs.replace(history(files[:done]), broken=words)
    plan = resolve((), broken)
    assert (plan.obstacles[0].code, plan.obstacles[0].message) == ("HISTORY_TAMPERED", words)


@MANY
@given(projects(), projects(), st.booleans())
def test_anything_gives_a_plan(
    one: tuple[tuple[Migration, ...], int], other: tuple[tuple[Migration, ...], int], broken: bool
):
    """Files and history of two unrelated projects: always a plan, and what does not fit is always in the way."""
    (files, _), (applied, done) = one, other
    plan = resolve(files, msgspec.structs.replace(history(applied[:done]), broken="x" if broken else ""))
    same = {(f.revision, f.checksum) for f in files}
    fits = not broken and all((f.revision, f.checksum) in same for f in applied[:done])
    in_order = all(revision > plan.base for revision, _ in plan.pending)
    assert (plan.obstacles == ()) == (fits and in_order)
    assert [o.code for o in plan.obstacles] == sorted(
        (o.code for o in plan.obstacles),
        key=[
            "HISTORY_TAMPERED",
            "HISTORY_AHEAD",
            "MIGRATION_MISSING",
            "CHECKSUM_MISMATCH",
            "OUT_OF_ORDER",
        ].index,
    )


def found(files: tuple[Migration, ...], applied: tuple[Migration, ...]) -> list[tuple[str, str]]:
    """The obstacles of ``files`` on a database that has ``applied``."""
    return [(o.code, o.revision) for o in resolve(files, history(applied)).obstacles]


@pytest.mark.parametrize("rows", [(), (row(migration(1)),)])
def test_no_files_at_all(rows: tuple[Row, ...]):
    """An empty directory on an empty history is an empty plan; on any other it is behind."""
    plan = resolve((), History(rows))
    assert plan.goal == plan.base == (rows[-1].revision if rows else "")
    assert [o.code for o in plan.obstacles] == ["HISTORY_AHEAD"] * len(rows)
