"""COMMITs that the server refuses, with and without a next file that is already on its way behind them."""

import signal

import pytest

from faults import invariants, look
from faults.drive import Project
from faults.look import effects, execute, history, value
from faults.relay import Line
from faults.shapes import SHAPES, File, Shape, once, table

pytestmark = look.SERVERS
_REVISION = "1700000000071"


def _deferred(body: str) -> File:
    """A file whose COMMIT runs ``body`` in a deferred trigger."""
    text = f"""CREATE FUNCTION public.late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NULL; END $$;
CREATE TABLE public.judged (id bigint);
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON public.judged DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION public.late();
{once(_REVISION)}
INSERT INTO public.judged VALUES (1);
"""
    return File(
        _REVISION,
        "judged_late",
        text,
        (f"SELECT count(*) = 1 FROM public.effects WHERE revision = '{_REVISION}'",),
    )


def test_a_refused_commit_takes_the_next_file_along(url: str, project: Project) -> None:
    """A COMMIT that fails is told as that of its own file; the file behind it, sent with it, leaves nothing either."""
    shape = Shape(
        "late", (table(70, "before"), _deferred("RAISE EXCEPTION 'not today';"), table(72, "behind")),
        exit=3, reason="MIGRATION_EXECUTION_FAILED", applied=1,
    )  # fmt: skip
    project.write(*shape.files)
    ended = project.run(url)
    assert (ended.code, ended.reason, ended.applied) == (3, "MIGRATION_EXECUTION_FAILED", ["1700000000070"])
    assert f"{_REVISION}_judged_late.sql (at COMMIT): not today" in ended.err, ended.err
    assert value(url, "SELECT to_regclass('public.behind') IS NULL AND to_regclass('public.judged') IS NULL")
    invariants.after_fault(url, shape, ended)


def test_a_refused_commit_of_the_last_file(url: str, project: Project) -> None:
    """Without a file behind it a COMMIT that fails is told in the same words."""
    project.write(table(70, "before"), _deferred("RAISE EXCEPTION 'not today';"))
    ended = project.run(url)
    assert (ended.code, ended.applied) == (3, ["1700000000070"])
    assert f"{_REVISION}_judged_late.sql (at COMMIT): not today" in ended.err, ended.err
    assert history(url) == ["1700000000070"]


def test_a_commit_that_may_be_tried_again(url: str, project: Project) -> None:
    """A serialization failure at COMMIT runs its file again, and then the file behind it: each applied once."""
    execute(url, "CREATE SEQUENCE public.tries")
    body = "IF nextval('public.tries') < 3 THEN RAISE EXCEPTION 'again' USING ERRCODE = 'serialization_failure'; END IF;"
    shape = Shape("again", (table(70, "before"), _deferred(body), table(72, "behind"), table(73, "last")))
    project.write(*shape.files)
    ended = project.run(url)
    assert (ended.code, len(ended.applied)) == (0, 4), ended
    assert value(url, "SELECT last_value FROM public.tries") == 3
    assert [f["attempts"] for f in ended.document["applied"]] == [1, 3, 1, 1]
    assert effects(url) == [f.revision for f in shape.files]
    invariants.after_rerun(url, shape, project.run(url))


def test_a_signal_between_two_files(url: str, project: Project, line: Line) -> None:
    """A signal that comes when a file only lacks its COMMIT keeps that file, begins no other, and says so."""
    shape = SHAPES["two files"]
    project.write(*shape.files)
    runner = project.start(url, fault={"kind": "ask", "at": 1, "name": "file:received", "control": line.path})
    line.wait()
    runner.signal(signal.SIGTERM)
    line.answer()
    ended = runner.wait()
    assert (ended.code, ended.reason, ended.applied) == (143, "CANCELLED", [shape.files[0].revision]), ended
    invariants.after_fault(url, shape, ended)
    invariants.after_rerun(url, shape, project.run(url))


def test_a_signal_while_a_file_that_sets_something_commits(url: str, project: Project, line: Line) -> None:
    """A signal during the COMMIT of a file whose session has to be made anew: the file is told as applied, as it is."""
    first = File(
        "1700000000075", "sets", f"SET work_mem = '8MB';\n{once('1700000000075')}\n",
        ("SELECT count(*) = 1 FROM public.effects WHERE revision = '1700000000075'",),
    )  # fmt: skip
    shape = Shape("sets", (first, table(76, "after_it")))
    project.write(*shape.files)
    runner = project.start(url, fault={"kind": "ask", "at": 1, "name": "commit:send", "control": line.path})
    line.wait()
    runner.signal(signal.SIGTERM)
    line.answer()
    ended = runner.wait()
    assert (ended.code, ended.applied) == (143, ["1700000000075"]), ended
    invariants.after_fault(url, shape, ended)
    invariants.after_rerun(url, shape, project.run(url))


@pytest.mark.parametrize("behind", [(), (table(72, "behind"),)], ids=["last", "with a file behind it"])
def test_a_commit_that_outlives_our_own_limit(url: str, project: Project, behind: tuple[File, ...]) -> None:
    """A COMMIT that we cut ourselves is told as the time limit that it is, and its file is rolled back."""
    shape = Shape(
        "slow", (table(70, "before"), _deferred("PERFORM pg_sleep(600);"), *behind), exit=3, reason="RUN_TIMEOUT", applied=1
    )  # fmt: skip
    project.write(*shape.files)
    ended = project.start(url, environment={"FAULT_GRACE": "1", "MIGRATION_TIMEOUT_SECONDS": "2"}).wait()
    assert (ended.code, ended.reason, ended.applied) == (3, "RUN_TIMEOUT", ["1700000000070"]), ended
    assert f"{_REVISION}_judged_late.sql: COMMIT waited too long" in ended.err, ended.err
    invariants.after_fault(url, shape, ended)
