"""What a move into an index does when its declared gates say no, and when its cutover was cut off behind the swap."""

import datetime
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from indexes.test_moving import Died, Hand, article, hand, read_generation  # noqa: F401 - the fixture
from lockgate.errors import LockgateError
from lockgate.indexes.moving import drive, turning
from lockgate.indexes.moving.opened import OpenedIndex
from lockgate.indexes.swap import swap
from lockgate.moves.dual import drive as shared
from lockgate.record import points
from lockgate.stores.content import Record
from support.calls import Project

pytestmark = pytest.mark.postgres("18")


def with_gates(move: Hand, gates: str) -> None:
    """Declare gates; they may change while the move runs."""
    move.file.write_text(f"{move.file.read_text().partition('[gates]')[0]}[gates]\n{gates}\n")


def window_closed(move: Hand) -> None:
    """Let the cutover be on another day only."""
    another_day = f"{datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=3):%a}"
    with_gates(move, f'cutover_windows = ["{another_day} 00:00-23:59 UTC"]')


def refused(move: Hand, call: Callable[..., Any], **more: Any) -> str:
    with pytest.raises(LockgateError) as caught:
        move.call(call, **more)
    return caught.value.code


def killed_at(move: Hand, place: str) -> None:
    """Call the cutover and let it die at ``place``."""

    def hook(name: str) -> None:
        if name == place:
            raise Died

    points.install(hook)
    try:
        with pytest.raises(Died):
            move.call(turning.turn, forward=True)
    finally:
        points.install(None)


def swapped_by_hand(opened_: OpenedIndex) -> None:
    """Point the alias to the second generation by the word of a person, since no gold set was asked."""
    side = opened_.pair.target
    swap(
        side.link, side.fed.store, opened_.pair.stores.of, "help", "0002",
        actor="t", window_seconds=3600, unvalidated=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "place"), [("pgvector", "into:swapped"), ("fts5", "into:swapped"), ("fts5", "index:swap:moved")]
)
def test_a_cutover_behind_its_swap_is_finished(hand, tmp_path: Path, database: str, kind: str, place: str):  # noqa: F811
    """Cut off between swap and ledger, with the window closed since: the status says that the alias has turned, the abort is refused, and the same cutover ends what it began."""
    move: Hand = hand(kind)
    move.through()
    killed_at(move, place)
    window_closed(move)
    project = Project(tmp_path, database)
    project.environ |= {"APP": move.source}
    error = project.json("move", "abort", "into").error("MOVE_STAGE")
    assert "lockgate move cutover into" in error["next"]
    told = project.ok("move", "move", "status", "into")["moves"][0]
    assert (told["stage"], told["serves"]) == ("ready", "target")
    assert "the alias has turned already" in told["note"]
    with move.writer() as writer:
        writer.put(article(random.Random(4), 400))
    assert move.call(turning.turn, forward=True).serves == "target"
    assert move.call(lambda m: m.row().stage) == "tail"
    assert read_generation(move) == "0001"
    assert move.held("0001") == move.texts()


def test_a_cutover_that_did_not_swap_waits_for_its_window(hand):  # noqa: F811
    """Cut off before anything was swapped, the window counts, and the move can be aborted."""
    move: Hand = hand("pgvector")
    move.through()
    killed_at(move, "index:swap:moved")
    window_closed(move)
    assert refused(move, turning.turn, forward=True) == "OUTSIDE_WINDOW"
    move.call(turning.abort, reason="not today")
    assert move.call(lambda m: m.row().stage) == "aborted"


def test_a_cutover_behind_its_swap_goes_back(hand):  # noqa: F811
    """From there the rollback works too: it writes the cutover down and turns the alias back; both generations hold the table."""
    move: Hand = hand("fts5")
    move.through()
    move.call(turning.turn, forward=True)
    move.call(turning.finish, now=True)
    move.through()

    move.call(swapped_by_hand)
    killed_at(move, "into:swapped")
    window_closed(move)
    assert (move.call(lambda m: m.row().stage), read_generation(move)) == ("ready", "0002")
    assert refused(move, turning.abort, reason="no") == "MOVE_STAGE"
    assert move.call(turning.turn, forward=False).serves == "source"
    assert (move.call(lambda m: m.row().stage), read_generation(move)) == ("rolled_back", "0001")
    assert move.held("0001") == move.held("0002") == move.texts()
    move.call(turning.abort, reason="enough")
    assert read_generation(move) == "0001"


@pytest.mark.parametrize("command", ["verify", "run"])
def test_divergence_aborts_by_itself_where_declared(hand, tmp_path: Path, database: str, command: str):  # noqa: F811
    """on_divergence = abort: a record that differs ends the move, and the incident file names it."""
    move: Hand = hand("fts5")
    move.through()
    with_gates(move, 'on_divergence = "abort"')
    with move.open() as opened_:
        fed = opened_.pair.target.fed
        fed.store.upsert(fed.row.physical, [Record("7", "somebody else's text", '{"a":2,"b":1}')])
    project = Project(tmp_path, database)
    project.environ |= {"APP": move.source}
    assert project.json("move", command, "into").error("MOVE_DIVERGED")["exitCode"] == 1
    assert project.ok("move", "move", "status", "into")["moves"][0]["stage"] == "aborted"
    incident = json.loads((tmp_path / ".artifacts" / "moves" / "into" / "incident.json").read_text())
    assert (incident["stage"], incident["details"]["unexplained"]) == ("aborted", ["7"])
    assert project.json("move", "cutover", "into").code == 4


def test_divergence_does_not_abort_what_serves(hand, tmp_path: Path, database: str):  # noqa: F811
    """Where the alias has turned, a divergence is told and leaves its incident, and the move goes on feeding what serves."""
    move: Hand = hand("fts5")
    move.through()
    killed_at(move, "into:swapped")
    with_gates(move, 'on_divergence = "abort"')
    with move.open() as opened_:
        fed = opened_.pair.target.fed
        fed.store.delete(fed.row.physical, ["7"])
    project = Project(tmp_path, database)
    project.environ |= {"APP": move.source}
    answer = project.json("move", "verify", "into")
    assert answer.error("MOVE_DIVERGED")["exitCode"] == 1
    assert "the move is not aborted" in answer.err
    move.call(drive.reconcile, repair=True)
    move.call(turning.turn, forward=True)
    move.call(shared.relay)
    assert move.held("0001") == move.texts()


def test_shadow_reads_are_not_for_an_index(hand):  # noqa: F811
    """A gate that nothing would look at is refused where it is declared."""
    move: Hand = hand("fts5")
    with_gates(move, "shadow_reads = 1000")
    assert refused(move, drive.start, operator="t") == "MOVE_DECLARATION"


@pytest.mark.parametrize("kind", ["fts5", "fts"])
@pytest.mark.parametrize("dies", [False, True], ids=["compared", "killed"])
def test_a_rollback_that_found_differences_is_refused_until_they_are_mended(hand, kind: str, dies: bool):  # noqa: F811
    """A record that differs in the generation that shall serve again stops that rollback and every later one, whether the first one lived to compare it or not, until verify --repair has written it again."""
    move: Hand = hand(kind)
    move.through()
    move.call(turning.turn, forward=True)
    move.call(turning.finish, now=True)
    move.through()
    move.call(swapped_by_hand)
    move.call(turning.turn, forward=True)
    writer = move.writer()
    writer.put(article(random.Random(1), 6))
    seen: list[str] = []

    def hook(name: str) -> None:
        seen.append(name)
        if seen.count("dual:done") == 1 and name == "dual:done":
            writer.put(article(random.Random(2), 7))  # it is carried when the index stands still
        if seen.count("dual:done") == 2 and name == "dual:done":
            with move.open() as late:
                older = late.pair.target.older
                assert older is not None
                older.fed.store.delete(older.fed.row.physical, ["7"])
            if dies:
                raise Died

    points.install(hook)
    try:
        with pytest.raises(Died if dies else LockgateError):
            move.call(turning.turn, forward=False)
    finally:
        points.install(None)
    for _ in range(2):
        assert refused(move, turning.turn, forward=False) == "MOVE_DIVERGED"
    assert refused(move, turning.finish, now=False) == "MOVE_DIVERGED"
    assert refused(move, drive.reconcile) == "MOVE_DIVERGED"
    assert move.call(lambda m: m.row().stage) == "tail"
    assert move.call(drive.reconcile, repair=True).repaired == 1
    assert move.call(turning.turn, forward=False).serves == "source"
    assert read_generation(move) == "0001"
    assert move.held("0001") == move.texts()
    writer.close()


def test_a_first_generation_has_no_way_back(hand, tmp_path: Path, database: str):  # noqa: F811
    """Where nothing served before, no command and no figure tells of a way back: cutover and status name the end, a rollback says why there is none, and the end needs no --now."""
    move: Hand = hand("fts5")
    move.through()
    project = Project(tmp_path, database)
    project.environ |= {"APP": move.source}
    for call in ("cutover", "status"):
        told = project.ok("move", "move", call, "into")["moves"][0]
        assert "lockgate move rollback" not in told["next"]
        assert told["next"].startswith("lockgate move finish into")
        assert told["rollbackUntil"] is None
    error = project.json("move", "rollback", "into").error("MOVE_STAGE")
    assert "nothing served help before" in error["message"]
    assert project.ok("move", "move", "finish", "into")["stage"] == "finished"
    assert read_generation(move) == "0001"
