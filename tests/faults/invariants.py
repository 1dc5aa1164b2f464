"""I1 to I9, read from the database: what has to be true after any fault, and what after the next run.

I1 a revision's effects are there whole or not at all     I6 a rerun finishes, or refuses with a named next command
I2 the history says applied only where they are there     I7 exit code and report agree with the database
I3 the history only grows, its chain holds                I8 no secret in any output
I4 nothing is done twice                                  I9 the gate's view never opens early
I5 no lock, fence or run is left without an owner
"""

import time
from collections.abc import Mapping

import psycopg

from faults.drive import CANARY, Ended
from faults.shapes import Shape
from lockgate.migrations.history import History, read_history
from lockgate.postgres.guard import GUARD_KEY, WORK_KEY, key_halves
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from lockgate.record.reasons import REASONS

QUIET_SECONDS = 15.0
"""How long an orphaned session may live on: the server looks for its client once a second."""


def after_fault(url: str, shape: Shape, ended: Ended) -> None:
    """Assert what holds whatever happened, before anybody repairs anything."""
    wait_until_quiet(url)
    history, running = history_of(url)
    known = {row.revision for row in history.rows}
    whole = _effects(url, shape, known)
    assert known <= whole, f"I2: the history has {known - whole}, whose effects are not whole"
    _exit_agrees(shape, ended, known)
    _gate_agrees(url, history)
    no_canary(url, ended)
    for run_id, state in running.items():
        assert state != "succeeded" or len(known) == shape.goal, f"I7: run {run_id} is recorded as a success"


def after_fault_of_one(shape: Shape, ended: Ended) -> None:
    """Assert what one of several runners may say, whatever the others did meanwhile."""
    revisions = {file.revision for file in shape.files}
    assert set(ended.applied) <= revisions
    assert CANARY not in ended.out + ended.err, f"I8: the password was printed\n{ended}"
    if ended.code > 0:
        row = REASONS[ended.document["reasonCode"]]
        assert ended.code in (int(row.exit), 130), f"I7: exit {ended.code} for {row.code}"
        assert ended.document["next"], f"I6: no next command\n{ended}"


def after_rerun(url: str, shape: Shape, ended: Ended) -> None:
    """Assert what holds once a run without a fault has followed."""
    after_fault(url, shape, ended)
    assert ended.code == shape.exit, f"I6: the rerun ended with {ended.code}, not {shape.exit}\n{ended}"
    assert ended.reason == shape.reason, f"I6: {ended}"
    history, running = history_of(url)
    assert [row.revision for row in history.rows] == [f.revision for f in shape.files[: shape.goal]], (
        "I6: not all is applied"
    )
    alive = [run_id for run_id, state in running.items() if state == "running"]
    assert not alive, f"I5: {alive} are shown as running and nobody runs"
    if not shape.exit:
        assert invalid_indexes(url) == [], "I1: an invalid index is left"
        assert history.partial == (), "I1: a journal without an end is left"


def history_of(url: str) -> tuple[History, Mapping[str, str]]:
    """The history, whose chain must hold, and the state of every run by its id. Empty where lockgate never got to work."""
    wire = Wire(Target(url, source="test"), "checker")
    try:
        if wire.value("SELECT to_regclass('lockgate.fence') IS NOT NULL") != "t":
            return History(), {}
        history = read_history(wire)
        assert history.broken == "", f"I3: {history.broken}"
        head = history.rows[-1].row_hash if history.rows else ""
        assert history.head == head, "I3: the fence's head is not the last row's"
        runs = {str(r[0]): str(r[1]) for r in wire.one("SELECT run_id, state FROM lockgate.run").rows}
        return history, runs
    finally:
        wire.close()


def wait_until_quiet(url: str) -> None:
    """Wait until no session of lockgate is left in the database; then no lock of its may be held (I5)."""
    end = time.monotonic() + QUIET_SECONDS
    with psycopg.connect(url, autocommit=True) as connection:
        while True:
            left = connection.execute(
                "SELECT pid, application_name, state, wait_event FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name LIKE 'lockgate/%'"
            ).fetchall()
            if not left:
                break
            assert time.monotonic() < end, f"I5: sessions outlive their runner: {left}"
            time.sleep(0.01)
        for key in (GUARD_KEY, WORK_KEY):
            held = connection.execute(
                "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND classid = %s::bigint::oid AND objid = %s::bigint::oid"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
                key_halves(key),
            ).fetchall()
            assert not held, f"I5: the lock is held by {held}"


def invalid_indexes(url: str) -> list[str]:
    """The invalid indexes outside lockgate's own schema."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE NOT (i.indisvalid AND i.indisready)"
            " AND c.relnamespace <> 'pg_toast'::regnamespace ORDER BY 1"
        ).fetchall()
    return [str(row[0]) for row in rows]


def _effects(url: str, shape: Shape, applied: set[str]) -> set[str]:
    """The revisions whose effects are wholly there. Asserts I1 and I4 for every one."""
    whole = set()
    with psycopg.connect(url) as connection:
        twice = connection.execute(
            "SELECT revision, count(*) FROM public.effects GROUP BY 1 HAVING count(*) > 1"
        ).fetchall()
        assert not twice, f"I4: done twice: {twice}"
        journal: dict[tuple[str, int], str] = {}
        if connection.execute("SELECT to_regclass('lockgate.migration_step')").fetchone() != (None,):
            rows = connection.execute(
                "SELECT revision_id, number, state FROM lockgate.migration_step"
            ).fetchall()
            journal = {(str(r[0]), int(r[1])): str(r[2]) for r in rows}
        for file in shape.files:
            there = [bool(connection.execute(part).fetchone()[0]) for part in file.parts]  # type: ignore[arg-type, index]
            if all(there):
                whole.add(file.revision)
            if file.transactional:
                assert all(there) or not any(there), f"I1: {file.file} is half there: {there}"
                assert all(there) == (file.revision in applied), (
                    f"I2: {file.file}: effects {there}, history {applied}"
                )
                continue
            for number, part in enumerate(there, 1):
                state = journal.get((file.revision, number))
                assert part or state != "done", (
                    f"I1: step {number} of {file.file} is journalled as done and is not there"
                )
                assert state or not part, f"I1: step {number} of {file.file} is there and not in the journal"
        steps = {(revision, number) for (revision, number), state in journal.items() if state == "running"}
    left = invalid_indexes(url)
    assert len(left) <= len(steps), f"I1: {left} are invalid and the journal has only {steps} open"
    return whole


def _exit_agrees(shape: Shape, ended: Ended, known: set[str]) -> None:
    assert set(ended.applied) <= known, f"I7: it says {ended.applied}, the history {known}"
    if ended.code < 0:
        return
    document = ended.document
    assert document, f"I7: no document\n{ended}"
    assert (ended.code == 0) == (document["status"] == "pass"), f"I7: {ended}"
    if ended.code == 0:
        assert len(known) == len(shape.files), f"I7: exit 0, and the history has {known}\n{ended}"
        return
    row = REASONS[document["reasonCode"]]
    assert ended.code in (int(row.exit), 130), f"I7: exit {ended.code} for {row.code}"
    assert document["next"], f"I6: no next command\n{ended}"
    assert f"{row.code}:" in ended.err, f"I6: stderr does not name {row.code}\n{ended}"


def _gate_agrees(url: str, history: History) -> None:
    """What services see through ``gate_v1``: never a revision that the history does not hold (I9)."""
    with psycopg.connect(url) as connection:
        if connection.execute("SELECT to_regprocedure('lockgate.gate_v1()')").fetchone() == (None,):
            return
        row = connection.execute("SELECT lockgate.gate_v1()").fetchone()
        assert row is not None
        seen = row[0]
    contracts = [r.revision for r in history.rows if r.phase == "contract"]
    assert seen["revision"] == history.newest, "I9: the gate sees another revision"
    assert seen["compat_floor"] == (contracts[-1] if contracts else ""), "I9: the gate sees another floor"
    assert seen["head"] == history.head, "I9: the gate sees another head"


def no_canary(url: str, *ended: Ended) -> None:
    """Assert that the password of the URL stands in no output, no table and no statement (I8)."""
    for one in ended:
        assert CANARY not in one.out + one.err, f"I8: the password was printed\n{one}"
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = to_regnamespace('lockgate')"
        ).fetchall()
        for (name,) in tables:
            found = connection.execute(
                f"SELECT count(*) FROM lockgate.{name} t WHERE t::text LIKE %s",
                [f"%{CANARY}%"],
            ).fetchone()
            assert found == (0,), f"I8: the password stands in lockgate.{name}"
