"""Before a move that the application writes begins: room for its sessions, privileges, an empty target, no other move on its tables. Only looks."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import NamedTuple

from lockgate.moves.dual.opened import Opened
from lockgate.moves.stages import OVER
from lockgate.postgres.link import Link
from lockgate.postgres.moves import ledger
from lockgate.postgres.moves.frozen import other_moves
from lockgate.postgres.queries import query
from lockgate.postgres.target import Target
from lockgate.stores import needs
from lockgate.stores.speaking import MysqlSpeaker, PostgresSpeaker, Speaker, speak


class Place(NamedTuple):
    """One side: what it is called, its table, whether that is there, and whether the move writes it."""

    side: str
    table: str
    there: bool
    written: bool


class Needs(NamedTuple):
    """What stands in the way (what, fix), and what a person should know."""

    problems: list[tuple[str, str]]
    notes: list[str]


class Session(NamedTuple):
    """A server where the move opens ``wanted`` sessions; ``free`` are left there, None where nothing counts them."""

    server: str
    name: str
    free: int | None
    wanted: int


def needed(
    move: Opened, places: Sequence[Place], key: Sequence[str], *, workers: int, beside: int = 0, empty: bool = True,
) -> Needs:  # fmt: skip
    """Everything of this page for the sides ``places``, source first. ``workers`` are the sessions at work beside the command's own; ``beside``: so many more that each of them opens in the database of the ledger. ``empty``: rows are looked for in the target."""
    found = Needs([], [])
    sessions: list[Session] = []
    with _speakers(move, places) as speakers:
        for place, speaker in zip(places, speakers, strict=True):
            told = needs.privileges(
                speaker, place.side, place.table, key, there=place.there, written=place.written
            )
            found.problems.extend(told.lacks)
            found.notes.extend(told.unknown)
            sessions.append(
                Session(needs.server_of(speaker), speaker.where, needs.free_sessions(speaker), workers + 2)
            )
            if speaker.engine == "sqlite":
                found.notes.append(
                    f"{speaker.where} counts no sessions: it has one lock, and the backfill takes turns with its writers"
                )
            found.notes.extend(_unwatched(move, speaker, place.side))
            if place.there and isinstance(speaker, PostgresSpeaker):
                found.problems.extend(_in_other_moves(move.name, speaker, place.table))
        if (
            empty
            and len(places) > 1
            and places[1].there
            and _begins(move)
            and needs.holds_rows(speakers[1], places[1].table)
        ):
            found.problems.extend(_of_rows(move, places, speakers[1]))
    sessions.append(_of_link(move.home, (workers + 1) * (1 + beside) + 1))
    if move.places.replica:
        with closing(
            Link(Target(move.places.replica, source="source.replica_env"), f"move {move.name} plan")
        ) as standby:
            sessions.append(_of_link(standby, workers + 2))
    found.problems.extend(budget(workers, sessions))
    problems, accepted = _accepted(move, found.problems)
    return Needs(problems, [*found.notes, *accepted])


@contextmanager
def _speakers(move: Opened, places: Sequence[Place]) -> Iterator[list[Speaker]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(closing(speak(url, f"move {move.name} plan", place.side)))
            for url, place in zip(move.places.both, places, strict=False)
        ]


def _unwatched(move: Opened, speaker: Speaker, side: str) -> list[str]:
    """Of which replicas nobody reads the lag: a primary of MariaDB or MySQL knows only that they are there, and MySQL not even that."""
    if not isinstance(speaker, MysqlSpeaker):
        return []
    declared = len(getattr(move.declared, side).lag_env)
    there = speaker.ask("SHOW GLOBAL STATUS LIKE 'Slaves_connected'")
    if there and int(there[0][1]) > declared:
        return [
            f"{speaker.where} has {there[0][1]} replicas or readers of its log, and {side}.lag_env names {declared}: the lag of the others holds nothing"
        ]
    if not there and not declared:
        return [
            f"whether {speaker.where} has replicas is not known: {side}.lag_env names those whose lag holds the backfill"
        ]
    return []


def _of_link(link: Link, wanted: int) -> Session:
    return Session(needs.server_of_link(link), str(link.target), int(link.value(query("moves/free"))), wanted)


def budget(workers: int, sessions: Iterable[Session]) -> list[tuple[str, str]]:
    """Whether the sessions of the move fit beside those that are there; of places on one server all are wanted there. Pure."""
    found = []
    together: dict[str, list[Session]] = {}
    for one in sessions:
        together.setdefault(one.server, []).append(one)
    for there in together.values():
        free = min((one.free for one in there if one.free is not None), default=None)
        wanted = sum(one.wanted for one in there)
        if free is not None and free < wanted:
            names = ", ".join(dict.fromkeys(one.name for one in there))
            found.append((
                f"{names}: {free} free connections, and the move wants {wanted} ({workers} workers, relay, comparison)",
                "limits.workers = 1, or more max_connections.",
            ))  # fmt: skip
    return found


def _begins(move: Opened) -> bool:
    """True when the move is not under way: rows in its target are not its own."""
    before = ledger.read_if_there(move.home, move.name)
    return before is None or before.stage in OVER


ROWS = "holds rows already"


def _of_rows(move: Opened, places: Sequence[Place], target: Speaker) -> list[tuple[str, str]]:
    name = places[1].table
    return [(
        f"{name} {ROWS}: the copy writes over those whose key the source has, and others pause the move at its proof",
        f"DELETE FROM {target.name(name)}; accept = [\"rows\"] begins all the same, and lockgate move verify {move.name} --repair takes away then what the source has not.",
    )]  # fmt: skip


def _accepted(move: Opened, problems: Sequence[tuple[str, str]]) -> tuple[list[tuple[str, str]], list[str]]:
    """(what stands in the way, what is taken knowingly)."""
    taken = [p for p in problems if "rows" in move.declared.accept and ROWS in p[0]]
    return [p for p in problems if p not in taken], [f"accepted (rows): {what}" for what, _ in taken]


def _in_other_moves(name: str, speaker: PostgresSpeaker, table: str) -> list[tuple[str, str]]:
    oid = speaker.link.value("SELECT pg_catalog.to_regclass($1)::oid", speaker.name(table))
    others = other_moves(speaker.link, oid, name) if oid is not None else ()
    return [(f"{table} is already in the move {', '.join(others)}", "Finish or abort that one first.")] if others else []  # fmt: skip
