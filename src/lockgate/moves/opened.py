"""A move with its sessions open: what is declared, what the ledger says, and both directions as they are now."""

import hashlib
import random
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import msgspec

from lockgate.errors import ConfigError, Held, LockgateError, Refused
from lockgate.moves.declaration import Declaration
from lockgate.moves.layout import Layout, Surroundings, layout
from lockgate.moves.stages import Stage
from lockgate.postgres.link import Link, refusal
from lockgate.postgres.moves import capture, ledger, log
from lockgate.postgres.moves.frozen import other_moves
from lockgate.postgres.moves.in_place import sync_of
from lockgate.postgres.moves.ledger import MoveRow
from lockgate.postgres.moves.mapping import Mapping
from lockgate.postgres.moves.relay import Relay
from lockgate.postgres.moves.replica import Replica
from lockgate.postgres.queries import query
from lockgate.postgres.quoting import literal
from lockgate.postgres.relation import Relation, describe
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.postgres.wire import ConnectionLost

PATH = "SET SESSION search_path = pg_catalog, pg_temp"


class Where(NamedTuple):
    """The databases of a move. ``target`` is None when it is the source's, ``replica`` when all is read from the primary."""

    source: Target
    target: Target | None
    replica: Target | None = None

    @property
    def written(self) -> tuple[Target, ...]:
        """The one or two databases that the move writes to."""
        return (self.source,) if self.target is None else (self.source, self.target)


def where(declared: Declaration, source: Target, environ: "dict[str, str] | object", *, reads: bool = True) -> Where:  # fmt: skip
    """The databases that ``declared`` names, with URLs from ``environ``, a replica only for who ``reads`` much. Raises ``ConfigError``."""

    def of(variable: str, key: str, never: str) -> Target | None:
        if not variable:
            return None
        url = environ.get(variable) if isinstance(environ, dict) else None
        if not url:
            raise ConfigError(
                f"{key}: the variable {variable} is {'empty' if url == '' else 'not set'}", "MOVE_DECLARATION", next=f"Set {variable}; {never}.",
            )  # fmt: skip
        return Target(url, source=variable)

    target = of(declared.target.url_env, "target.url_env", "another target is never taken instead")
    replica = declared.source.replica_env if reads else ""
    return Where(source, target, of(replica, "source.replica_env", "or take it out to read from the primary"))  # fmt: skip


class Opened:
    """One move, open. ``home`` is a session of the source, where the ledger is; ``far`` one of the target (the same in one database)."""

    def __init__(self, declared: Declaration, places: Where, purpose: str) -> None:
        self.declared = declared
        self.places = places
        self.owner = f"{purpose} {uuid.uuid4().hex[:8]}"
        self.rng = random.Random()  # noqa: S311 - jitter, not a secret
        self.purpose = purpose
        self._replica: Replica | None = None
        self.home = Link(places.source, f"move {declared.name} {purpose}")
        try:
            self.far = (
                self.home if places.target is None else Link(places.target, f"move {declared.name} {purpose}")
            )
        except BaseException:
            self.home.close()
            raise
        try:
            for link in self.links:
                link.refuse_pooler()
            ledger.show_life(self.home, self.owner)
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        """The move's name."""
        return self.declared.name

    def pin(self) -> None:
        """From here on names are qualified: take the search path away."""
        for link in self.links:
            link.run(PATH)

    def unpin(self) -> None:
        """Give the search path back: a move in place evaluates expressions as the triggers of its migration do."""
        for link in self.links:
            link.run("RESET search_path")

    @property
    def links(self) -> tuple[Link, ...]:
        """The one or two sessions."""
        return (self.home,) if self.far is self.home else (self.home, self.far)

    @property
    def replica(self) -> Replica | None:
        """The standby that heavy reads go to, opened when it is first asked for; None where the primary is read. Raises as ``Replica``."""
        if self._replica is None and self.places.replica is not None:
            self._replica = Replica(self.places.replica, self.home, f"move {self.name} {self.purpose} reads", self.declared.limits.replica_wait_seconds)  # fmt: skip
            self._replica.link.run(PATH)
        return self._replica

    def row(self) -> MoveRow:
        """Where the move stands now."""
        return ledger.read(self.home, self.name)

    def refuse_other_declaration(self, row: MoveRow) -> None:
        """Raise ``Refused`` (``MOVE_CHANGED``) when the file is not the one that the move was started with."""
        if row.declaration_hash != self.declared.hash:
            raise Refused(f"moves/{self.name}.toml is not what the move was started with", "MOVE_CHANGED")

    def refuse_half_done(self, row: MoveRow) -> None:
        """Raise ``Held`` (``MOVE_STAGE``) while a switch across two databases is half done: either side may serve, and only the same call again leads on."""
        if row.switching:
            raise Held(
                f"a {row.switching} of the move {self.name} is half done", "MOVE_STAGE",
                next=f"lockgate move {row.switching} {self.name}",
            )  # fmt: skip

    def relations(self, row: MoveRow) -> tuple[Relation, Relation]:
        """Both tables as they are now, by their oids: names change at the switch."""
        found = []
        for link, oid, side in ((self.home, row.source_oid, "source"), (self.far, row.target_oid, "target")):
            relation = describe(link, oid)
            if relation is None:
                raise LockgateError(
                    f"the {side} table of the move {self.name} is gone", "MOVE_PAUSED", details={"oid": oid}
                )
            found.append(relation)
        return found[0], found[1]

    def layout(self, row: MoveRow) -> Layout:
        """Both directions now. Raises ``LockgateError`` (``MOVE_PAUSED``) when the tables changed so that there is none."""
        self.pin()
        made, problems = layout(self.declared, *self.relations(row))
        if made is None:
            turned = row.stage in (Stage.CUT_OVER, Stage.TAIL)
            raise LockgateError(
                f"the tables of the move {self.name} changed: {problems[0].what}", "MOVE_PAUSED",
                state="The target serves; nothing was changed, and writes that wait for the old side go on waiting." if turned else None,
                next=f"Take the change of the table back, then the same command; or lockgate move finish {self.name} --now gives up the way back." if turned else None,
                details={"problems": [p._asdict() for p in problems]},
            )  # fmt: skip
        return made

    def one_way_layout(self, row: MoveRow) -> Layout:
        """``layout`` for who gives up the way back: what keeps rows from finding it is no matter any more. The reverse has its names only."""
        self.pin()
        made, _ = layout(msgspec.structs.replace(self.declared, one_way=True), *self.relations(row))
        if made is None:
            return self.layout(row)
        if self.declared.one_way:
            return made
        return Layout(made.forward, msgspec.structs.replace(made.forward, feed="reverse"))

    def relay(self, mapping: Mapping) -> Relay:
        """The relay of one direction, on these sessions. Raises ``LockgateError`` (``MOVE_PAUSED``) when the slot of its log is gone."""
        if mapping.feed == "reverse":
            return Relay(mapping, self.far, self.home)
        relay = Relay(mapping, self.home, self.far)
        if self.declared.capture == "log" and not relay.logged:
            row = ledger.read_if_there(self.home, self.name)
            if row is not None and not capture.has_trigger(self.home, row.source_oid, capture.capture_name(mapping)):  # fmt: skip
                reason = "the slot that reads the log is gone: what was written since is unknown"
                ledger.pause(self.home, self.name, reason, {})
                raise LockgateError(reason, "MOVE_PAUSED", next=f"lockgate move abort {self.name}, then start it anew.")  # fmt: skip
        return relay

    def shapes(self, row: MoveRow) -> tuple[str, str]:
        """Digests of what must not change while the tables are moved."""
        if self.declared.in_place:
            return self._shapes_in_place(row)
        pattern = f"%lockgate\\_{self.name}%"
        return (
            self.home.value(query("moves/shape"), row.source_oid, pattern) or "gone",
            self.far.value(query("moves/shape"), row.target_oid, pattern) or "gone",
        )

    def shapes_sql(self, row: MoveRow) -> str:
        """``shapes`` of tables of one database as assignments of an UPDATE: under a lock it costs no statement of its own."""
        pattern = literal(f"%lockgate\\_{self.name}%")
        return ", ".join(
            f"{column} = COALESCE((\n{query('moves/shape').replace('$1', str(oid)).replace('$2', pattern)}\n), 'gone')"
            for column, oid in (("source_shape", row.source_oid), ("target_shape", row.target_oid))
        )

    def _shapes_in_place(self, row: MoveRow) -> tuple[str, str]:
        oids = [row.source_oid, row.target_oid]
        there = sync_of(self.home, oids, self.declared.sync.triggers, self.declared.sync.checks)
        sync = hashlib.sha256(repr(sorted(there.items())).encode()).hexdigest()
        columns = [self.home.value(query("moves/shape"), oid, "") or "gone" for oid in oids]
        return f"{columns[0]} {sync[:32]}", columns[1]

    def stop_if_changed(self, row: MoveRow) -> None:
        """Pause the move and raise ``MOVE_PAUSED`` when somebody changed one of its tables or switched its capture off."""
        source, target = self.shapes(row)
        changed = [
            side
            for side, seen, known in (
                ("source", source, row.source_shape),
                ("target", target, row.target_shape),
            )
            if known and seen != known
        ]
        barred = self.barred(row)
        if changed or not barred:
            # A switch changes triggers itself, the barrier too, and across two databases the ledger learns of its end only afterwards.
            now = self.row()
            if now.switching or now.stage != row.stage:
                return
        if changed:
            reason = f"the {' and the '.join(changed)} table changed under the move (columns, partitions or its triggers)"
            ledger.pause(self.home, self.name, reason, {"source": source, "target": target})
            if self.captured(row):
                raise LockgateError(reason, "MOVE_PAUSED", details={"changed": changed})
            raise LockgateError(
                f"{reason}: the capture is off, and writes since then are unknown", "MOVE_PAUSED", details={"changed": changed},
                state=UNCAPTURED, next=anew(self.name, self.declared.target.table),
            )  # fmt: skip
        if not barred:
            reason = "the barrier of the target table is off: others may have written there"
            ledger.pause(self.home, self.name, reason, {})
            raise LockgateError(
                reason, "MOVE_PAUSED",
                next=f"lockgate move resume {self.name} puts it back; then lockgate move run {self.name} compares both sides anew.",
            )  # fmt: skip

    def barred(self, row: MoveRow) -> bool:
        """False when nothing refuses writes of others to the target of a move that copies and has not switched."""
        return self.declared.in_place or capture.has_trigger(self.far, row.target_oid, capture.barrier_name(self.name))  # fmt: skip

    def captured(self, row: MoveRow) -> bool:
        """False when nothing captures what is written to the source of a move that copies."""
        return self.declared.in_place or captures(self.home, row)

    def close(self) -> None:
        """Close every session."""
        if self._replica is not None:
            self._replica.close()
        for link in self.links:
            link.close()


UNCAPTURED = "The source serves, and nothing captures its writes: what was written meanwhile may be missing in the target."


def captures(home: Link, row: MoveRow) -> bool:
    """True when the log or the triggers capture writes to the source of a move that has not switched."""
    return log.exists(home, row.name) or capture.has_trigger(home, row.source_oid, f"zz_lockgate_{row.name}_forward")  # fmt: skip


def anew(name: str, target: str) -> str:
    """The way on where writes were missed."""
    return f"lockgate move abort {name}; empty {target}; then lockgate move run {name} begins anew."


@contextmanager
def opened(declared: Declaration, places: Where, purpose: str) -> Iterator[Opened]:
    """Open a move; what the server refuses comes out as an error for people."""
    move = Opened(declared, places, purpose)
    try:
        yield move
    except ServerError as error:
        raise refusal(error, f"the move {declared.name}", places.source) from None
    except ConnectionLost as error:
        raise ConnectionLost(
            error.message, details=error.details, state="What the move had committed stands, and nothing else of it.",
            next=f"lockgate move {purpose} {declared.name} when the server is back: it goes on from what the database says.",
        ) from None  # fmt: skip
    finally:
        move.close()


def surroundings(link: Link, oid: int, move: str) -> Surroundings:
    """What stands around the table of ``oid``."""
    found = msgspec.json.decode(link.value(query("moves/surroundings"), oid), type=Surroundings)
    return msgspec.structs.replace(found, other_moves=other_moves(link, oid, move))


Report = Callable[[str, float], None]
"""Hears what is done and 0.0 to 1.0 of it."""
