"""The wire and the server behind it: cut, slow, silent, restarted, crashed (rows 14 to 20)."""

import contextlib
import signal
from collections.abc import Callable, Iterator

import pytest

from faults import conftest, invariants, look
from faults.cluster import Cluster
from faults.drive import CANARY, Project, Running
from faults.look import at_the_brake, brake, effects, history, holding, run_states, session, value
from faults.relay import Line, Relay
from faults.shapes import SHAPES, File, Shape, braked, table
from lockgate.postgres.alarm import Alarm
from lockgate.postgres.outcome import Outcome, outcome_of
from lockgate.postgres.settings import FACTS, read_facts
from lockgate.postgres.target import Target
from lockgate.postgres.wire import UNFLUSHED, Call, Wire
from support.processes import until

SMALL = SHAPES["small"]
CONCURRENT = SHAPES["concurrent"]
BRAKED = Shape("braked", (table(80, "before"), braked(81, "braked")))
pytestmark = look.SERVERS


@pytest.fixture
def doomed(mortal: Cluster, request: pytest.FixtureRequest) -> str:
    """A prepared database on a server that may die; its URL goes straight to that server."""
    name = "doomed"
    conftest.drop(mortal.url(), name)
    conftest.create(mortal.url(), name)
    return conftest.with_canary(mortal.url(name))


def test_fast_restart_in_the_middle_of_a_file(doomed: str, mortal: Cluster, project: Project) -> None:
    """When the server restarts under a file, the run reconnects, reads the history and applies the file once."""
    project.write(*BRAKED.files)
    brake(doomed)
    runner = project.start(doomed)
    at_the_brake(doomed)
    mortal.stop()
    mortal.start()
    look.release_brake(doomed)
    ended = _unbrake_and_wait(doomed, runner)
    assert "connection lost" in ended.err
    invariants.after_rerun(doomed, BRAKED, ended)


def _unbrake_and_wait(url: str, runner):  # type: ignore[no-untyped-def]
    """The run came back before the brake was released: let it go on from there."""

    def free() -> bool:
        look.execute(
            url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()",
        )
        return not runner.alive

    until(free, 30)
    return runner.wait()


def test_crash_in_the_middle_of_a_file(doomed: str, mortal: Cluster, project: Project) -> None:
    """A server crash under a file leaves nothing of it; the run waits for the recovery and applies it once."""
    project.write(*BRAKED.files)
    brake(doomed)
    runner = project.start(doomed)
    at_the_brake(doomed)
    mortal.crash()
    mortal.start()
    look.release_brake(doomed)
    ended = _unbrake_and_wait(doomed, runner)
    assert "connection lost" in ended.err
    invariants.after_rerun(doomed, BRAKED, ended)


def test_the_server_does_not_come_back(doomed: str, mortal: Cluster, project: Project) -> None:
    """A server that stays down ends the run with 69 in bounded time; nothing is half applied, and the next run finishes."""
    project.configure(reconnect_seconds=1)
    project.write(*BRAKED.files)
    brake(doomed)
    runner = project.start(doomed)
    at_the_brake(doomed)
    mortal.crash()
    ended = runner.wait(20)
    assert (ended.code, ended.reason) == (69, "CONNECTION_LOST")
    mortal.start()
    unsure = ended.document["details"].get("unconfirmed", [])
    assert ended.applied in (history(doomed), []), "what was told is on disk"
    assert [*ended.applied, *unsure] == [BRAKED.files[0].revision], "told, or named as nobody can tell of it"
    invariants.after_fault(doomed, BRAKED, ended)
    look.release_brake(doomed)
    again = project.run(doomed)
    assert run_states(doomed) == ["abandoned", "succeeded"]
    invariants.after_rerun(doomed, BRAKED, again)


@contextlib.contextmanager
def _unflushed(doomed: str, start: Callable[[], Running]) -> Iterator[Running]:
    """The first file is committed and nothing brings it to disk; the run stands at the brake of the second."""
    with holding(doomed, "LOCK TABLE public.effects") as first:
        runner = start()
        look.waiting_for_lock(doomed)
        with holding(doomed, "SELECT 1 FROM lockgate.run FOR UPDATE") as flush:
            first.rollback()
            at_the_brake(doomed)
            yield runner
            flush.close()
        first.close()


def test_a_crash_takes_back_what_was_not_on_disk(doomed: str, mortal: Cluster, project: Project) -> None:
    """A file whose COMMIT did not wait for the disk is not told as applied; when a crash takes it back it runs again, once."""
    mortal.stop()
    mortal.start(wal_writer_delay="10s")
    project.write(*BRAKED.files)
    brake(doomed)
    with _unflushed(doomed, lambda: project.start(doomed)) as runner:
        mortal.crash()
    mortal.start()
    assert history(doomed) == [], "else this shows nothing: the first file reached the disk"
    look.release_brake(doomed)
    ended = _unbrake_and_wait(doomed, runner)
    assert "the server was lost before its COMMIT was on disk" in ended.err
    assert ended.applied == [file.revision for file in BRAKED.files]
    invariants.after_rerun(doomed, BRAKED, ended)


def test_a_crash_for_good_takes_back_what_was_not_on_disk(
    doomed: str, mortal: Cluster, project: Project
) -> None:
    """When that server stays away, the file is named as one that nobody can tell of, and not as applied."""
    mortal.stop()
    mortal.start(wal_writer_delay="10s")
    project.configure(reconnect_seconds=1)
    project.write(*BRAKED.files)
    brake(doomed)
    with _unflushed(doomed, lambda: project.start(doomed)) as runner:
        mortal.crash()
        ended = runner.wait(20)
    assert (ended.code, ended.reason, ended.applied) == (69, "CONNECTION_LOST", [])
    assert ended.document["details"]["unconfirmed"] == [BRAKED.files[0].revision]
    assert "and was lost before that was known to be on disk" in ended.err
    mortal.start()
    look.release_brake(doomed)
    invariants.after_rerun(doomed, BRAKED, project.run(doomed))


_OFF = "SET LOCAL synchronous_commit = off;\n"
_OFF_UNSEEN = "DO $$ BEGIN SET synchronous_commit = off; END $$;\n"


@pytest.mark.parametrize(
    "files",
    [
        (table(80, "before"), table(81, "last")._replace(sql=_OFF + table(81, "last").sql)),
        (table(80, "before")._replace(sql=_OFF_UNSEEN + table(80, "before").sql), table(81, "last")),
        (table(80, "before")._replace(sql="-- lockgate: transaction=off\nSET synchronous_commit = off;\n" + table(80, "before").sql),),
    ],
    ids=["for its transaction", "for the session, unseen", "in a journalled file"],
)  # fmt: skip
def test_a_file_cannot_turn_off_the_wait_for_the_disk(
    doomed: str, mortal: Cluster, project: Project, files: tuple[File, ...]
) -> None:
    """What a run told as applied is there after a crash, also where a file says that its commits need not wait."""
    mortal.stop()
    mortal.start(wal_writer_delay="10s")
    project.write(*files)
    ended = project.run(doomed)
    mortal.crash()
    mortal.start()
    assert (ended.code, ended.applied) == (0, [file.revision for file in files]), ended
    assert history(doomed) == ended.applied


def test_a_number_that_a_crash_gave_out_again(doomed: str, mortal: Cluster) -> None:
    """After a crash the number of a commit that it took back belongs to somebody else: that commit is not told as applied."""
    mortal.stop()
    mortal.start(wal_writer_delay="10s")
    target = Target(doomed, source="test")
    wire = Wire(target, "lost")
    facts = read_facts(wire.one(FACTS))
    wire.batch([Call("BEGIN"), Call("INSERT INTO public.effects VALUES ('x')"), UNFLUSHED])
    xid = wire.value("SELECT pg_current_xact_id()::text") or ""
    wire.one("COMMIT")
    mortal.crash()
    wire.close()
    mortal.start()

    def ask() -> Outcome:
        with Alarm() as alarm:
            return outcome_of(target, facts, xid, "1700000000080", alarm=alarm, seconds=5)

    assert ask() is Outcome.ABORTED
    while int(str(value(doomed, "SELECT pg_current_xact_id()::text::bigint"))) < int(xid):
        pass
    assert ask() is Outcome.ABORTED


def test_crash_while_an_index_is_built(doomed: str, mortal: Cluster, project: Project) -> None:
    """The invalid index that a crash leaves is found, dropped and built again by the same run once the server is back."""
    project.write(*CONCURRENT.files)
    with holding(doomed, "INSERT INTO public.orders VALUES (1000, 1)") as other:
        runner = project.start(doomed)
        look.waiting_for_lock(doomed)
        mortal.crash()
        other.close()
    mortal.start()
    ended = runner.wait()
    assert "healing" in ended.err
    invariants.after_rerun(doomed, CONCURRENT, ended)


@pytest.mark.parametrize("shape", ["small", "concurrent", "contract"])
def test_the_answer_to_commit_is_lost(
    fresh: Callable[[], str], project: Project, relay: Relay, line: Line, shape: str
) -> None:
    """When the answer to COMMIT is lost the server is asked: the file is reported as applied and never runs again."""
    files = SHAPES[shape]
    project.write(*files.files)
    url = fresh()
    history_commit = 2 if shape == "concurrent" else 1  # the first COMMIT of that one is a step's
    runner = project.start(
        relay.url(url.rsplit("/", 1)[1], password=CANARY),
        fault={"kind": "ask", "at": history_commit, "name": "commit:send", "control": line.path},
    )
    line.wait()
    relay.cut_on_answer()
    line.answer()
    ended = runner.wait()
    assert relay.answers.is_set()
    notes = [file["note"] for file in ended.document["applied"]]
    assert "COMMITTED_AFTER_DISCONNECT" in notes, ended
    invariants.after_rerun(url, files, ended)


def test_commit_never_arrived(fresh: Callable[[], str], project: Project, relay: Relay, line: Line) -> None:
    """A COMMIT that did not reach the server is found aborted, and the file runs again, once."""
    project.write(*SMALL.files)
    url = fresh()
    runner = project.start(
        relay.url(url.rsplit("/", 1)[1]),
        fault={"kind": "ask", "at": 1, "name": "commit:send", "control": line.path},
    )
    line.wait()
    relay.cut()
    line.answer()
    ended = runner.wait()
    assert "its COMMIT did not reach the server; it runs again" in ended.err
    invariants.after_rerun(url, SMALL, ended)


def test_the_old_session_still_holds_the_transaction(
    fresh: Callable[[], str], project: Project, relay: Relay, line: Line
) -> None:
    """While nobody can tell whether a COMMIT took place the run holds with exit 5, and a later run finishes the work."""
    project.configure(reconnect_seconds=1)
    project.write(*SMALL.files)
    url = fresh()
    runner = project.start(
        relay.url(url.rsplit("/", 1)[1]),
        fault={"kind": "ask", "at": 1, "name": "commit:send", "control": line.path},
        environment={"FAULT_GRACE": "0.5", "MIGRATION_TIMEOUT_SECONDS": "2"},
    )
    line.wait()
    relay.freeze()
    line.answer()
    ended = runner.wait()
    assert (ended.code, ended.reason) == (5, "IN_DOUBT")
    assert ended.document["status"] == "hold"
    assert value(url, "SELECT state FROM lockgate.run") == "held"
    relay.cut()
    invariants.after_fault(url, SMALL, ended)
    invariants.after_rerun(url, SMALL, project.run(url))


def test_cut_while_a_statement_runs(fresh: Callable[[], str], project: Project, relay: Relay) -> None:
    """After a cut the file runs again only when the server has ended the old session; its effects are there once."""
    project.write(*BRAKED.files)
    url = fresh()
    brake(url)
    runner = project.start(relay.url(url.rsplit("/", 1)[1]))
    old = at_the_brake(url)
    relay.cut()
    until(lambda: session(url, "work", f"wait_event = 'PgSleep' AND pid <> {old}"))
    assert value(url, "SELECT count(*) FROM pg_stat_activity WHERE pid = %s", old) == 0
    look.release_brake(url)
    ended = _unbrake_and_wait(url, runner)
    assert ended.code == 69, ended  # cut, and then ended again: twice on one file is enough
    invariants.after_rerun(url, BRAKED, project.run(url))


def test_cut_while_an_index_is_built(fresh: Callable[[], str], project: Project, relay: Relay) -> None:
    """A build that was cut off is not repeated blindly: what it left is looked at, dropped, and built anew."""
    project.write(*CONCURRENT.files)
    url = fresh()
    with holding(url, "INSERT INTO public.orders VALUES (1000, 1)"):
        runner = project.start(relay.url(url.rsplit("/", 1)[1]))
        old = look.waiting_for_lock(url)
        relay.cut()
        until(lambda: value(url, "SELECT count(*) FROM pg_stat_activity WHERE pid = %s", old) == 0)
    ended = runner.wait()
    assert "healing" in ended.err, ended
    invariants.after_rerun(url, CONCURRENT, ended)


@pytest.mark.parametrize("moment", ["as the work session", "before the lock", "in a statement", "everything"])
def test_half_open(fresh: Callable[[], str], project: Project, relay: Relay, line: Line, moment: str) -> None:
    """A peer that falls silent without a word is given up in bounded time with a named reason; the next run finishes."""
    project.configure(reconnect_seconds=1)
    project.write(*SMALL.files)
    url = fresh()
    name = {"as the work session": "rename:send", "before the lock": "guard"}.get(moment, "file:send")
    early = moment in ("as the work session", "before the lock")
    runner = project.start(
        relay.url(url.rsplit("/", 1)[1], connect_timeout="2"),
        "--lock-wait", "1",
        fault={"kind": "ask", "at": 1, "name": name, "control": line.path},
        environment={"FAULT_GRACE": "0.5", "MIGRATION_TIMEOUT_SECONDS": "20" if early else "2"},
    )  # fmt: skip
    line.wait()
    relay.freeze(newcomers=moment == "everything")
    line.answer()
    ended = runner.wait(30)
    assert ended.reason in ("", "CONNECTION_LOST", "RUN_TIMEOUT"), ended
    assert (ended.code == 0) == early, ended  # there a new connection is all it takes
    relay.thaw()
    relay.cut()
    invariants.after_fault(url, SMALL, ended)
    invariants.after_rerun(url, SMALL, project.run(url))


def test_the_server_forgets_a_silent_runner(url: str, project: Project, line: Line) -> None:
    """Every session of a run has limits on idleness and a watch on its client, so a silent runner's locks expire."""
    project.write(*SMALL.files)
    runner = project.start(
        url, fault={"kind": "ask", "at": 1, "name": "epoch:received", "control": line.path}
    )
    line.wait()
    look.execute(url, "CREATE TABLE public.seen (name text, setting text)")
    runner.signal(signal.SIGKILL)
    line.answer()
    runner.wait()
    file = SMALL.files[0]
    names = "'idle_session_timeout', 'idle_in_transaction_session_timeout', 'client_connection_check_interval', 'synchronous_commit'"
    project.write(
        file._replace(
            sql=f"INSERT INTO public.seen SELECT name, setting FROM pg_settings WHERE name IN ({names});\n"
            + file.sql
        )
    )
    assert project.run(url).code == 0
    assert dict(look.execute(url, "SELECT name, setting FROM public.seen")) == {
        "idle_session_timeout": "60000", "idle_in_transaction_session_timeout": "60000",
        "client_connection_check_interval": "1000", "synchronous_commit": "on",
    }  # fmt: skip


@pytest.mark.parametrize(
    "slowness", [{"delay": 0.04}, {"rate": 16_000.0}, {"slice": 1}, {"slice": 50, "delay": 0.001}], ids=str
)
def test_a_slow_wire(server, fresh: Callable[[], str], project: Project, slowness: dict) -> None:  # type: ignore[no-untyped-def, type-arg]
    """Latency, little bandwidth and packets in slices make a run slow and nothing else."""
    shape = SHAPES["concurrent"]
    project.write(*shape.files)
    url = fresh()
    path = server.url().split("@", 1)[1].split(":", 1)[0].replace("%2F", "/")
    with Relay(lambda: f"{path}/.s.PGSQL.5432", **slowness) as relay:
        ended = project.run(relay.url(url.rsplit("/", 1)[1], password=CANARY))
    invariants.after_rerun(url, shape, ended)


@pytest.mark.soak
def test_a_wire_with_a_second_of_latency(server, fresh: Callable[[], str], project: Project) -> None:  # type: ignore[no-untyped-def]
    """A second for every packet each way is slow, and right."""
    shape = SHAPES["several statements"]
    project.write(*shape.files)
    url = fresh()
    path = server.url().split("@", 1)[1].split(":", 1)[0].replace("%2F", "/")
    with Relay(lambda: f"{path}/.s.PGSQL.5432", delay=1.0) as relay:
        ended = project.run(relay.url(url.rsplit("/", 1)[1]), seconds=300)
    invariants.after_rerun(url, shape, ended)


@pytest.mark.parametrize("limit", [40, 400, 900, 2_000, 4_000, 8_000])
def test_cut_after_so_many_bytes(server, fresh: Callable[[], str], project: Project, limit: int) -> None:  # type: ignore[no-untyped-def]
    """A connection that is reset in the middle of a message, wherever that is, leaves the next run nothing to mend."""
    shape = SHAPES["two files"]
    project.write(*shape.files)
    url = fresh()
    path = server.url().split("@", 1)[1].split(":", 1)[0].replace("%2F", "/")
    with Relay(lambda: f"{path}/.s.PGSQL.5432", limit=limit) as relay:
        ended = project.run(relay.url(url.rsplit("/", 1)[1], password=CANARY))
    invariants.after_fault(url, shape, ended)
    invariants.after_rerun(url, shape, project.run(url))
    assert len(effects(url)) == 2
