"""Who blocks us: the sessions that keep ours waiting, told so that an operator knows whom to ask."""

from collections.abc import Mapping

import msgspec

from lockgate.postgres.queries import query
from lockgate.postgres.wire import Wire
from lockgate.record.redact import redact


class Blocker(msgspec.Struct, frozen=True, rename="camel"):
    """One session of the blocking tree. ``depth`` 1 blocks us, 2 blocks a blocker. ``age`` is its transaction's, in seconds."""

    pid: int
    depth: int
    application: str
    user: str
    state: str
    age: int
    kind: str
    query: str
    waits_for: str
    holds: str

    def __str__(self) -> str:
        what = _NAMES.get(self.kind_of(), f"{self.application or self.user or self.kind}")
        since = f", transaction open for {self.age} s" if self.age >= 0 else ""
        holds = f", holds {self.holds}" if self.holds else ""
        return (
            f"{'  ' * (self.depth - 1)}pid {self.pid} ({what}), {self.state or 'unknown state'}{since}{holds}"
        )

    def kind_of(self) -> str:
        """``wraparound``, ``autovacuum``, ``pg_dump`` or ``session``: the kinds that are treated differently."""
        if "autovacuum worker" in self.kind:
            return "wraparound" if "to prevent wraparound" in self.query else "autovacuum"
        return "pg_dump" if self.application == "pg_dump" else "session"


_NAMES = {
    "wraparound": "autovacuum to prevent wraparound: it does not yield, let it finish",
    "autovacuum": "autovacuum: it yields by itself in about a second",
    "pg_dump": "pg_dump: a backup is running, wait for its end",
}


def read_blockers(wire: Wire, pid: int, deadline: float | None = None) -> list[Blocker]:
    """The blocking tree of session ``pid`` as another session sees it now; empty when it does not wait."""
    found = []
    for row in wire.one(query("blockers"), str(pid), deadline=deadline).rows:
        cell = [c or "" for c in row]
        found.append(
            Blocker(
                pid=int(cell[0]),
                depth=int(cell[1]),
                application=cell[2],
                user=cell[3],
                state=cell[4],
                age=int(cell[5] or -1),
                kind=cell[6],
                query=redact(cell[7]),
                waits_for=cell[8],
                holds=cell[9],
            )
        )
    return found


class Sighting(msgspec.Struct, frozen=True):
    """What the watchdog saw last while our statement waited for, or held, a lock that others want."""

    wanted: str
    victims: int
    blockers: tuple[Blocker, ...] = ()

    def fields(self) -> Mapping[str, object]:
        """The same for a report."""
        return {
            "waitsFor": self.wanted,
            "victims": self.victims,
            "blockers": [msgspec.to_builtins(b) for b in self.blockers],
        }
