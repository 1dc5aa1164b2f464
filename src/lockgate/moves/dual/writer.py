"""``DualWriter``: how an application writes to a table that is being moved between stores without triggers."""

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lockgate.errors import Busy, ConfigError, LockgateError, Unreachable
from lockgate.moves.dual import declaration as declarations
from lockgate.moves.dual import into
from lockgate.moves.dual.pair import NoTarget, Pair, Urls, open_pair, source_alone, uncaptured, urls
from lockgate.moves.dual.second_leg import carry
from lockgate.moves.transforms import load_all
from lockgate.stores.making import Image, Texts
from lockgate.stores.neutral import canonical_key, of_python
from lockgate.stores.side import Op, Side, Switch
from lockgate.stores.speaking import Speaker, speak

BEAT_SECONDS = 5.0
"""So often a writer shows that it lives, when it writes."""
AWAY_SECONDS = 5.0
"""A store that did not take part in a second leg is left alone for so long."""
PATIENCE = 10.0
"""So long a write waits while the sides are being exchanged."""


class Write:
    """One transaction of the side that serves. ``speaker`` takes the application's other statements on the same store."""

    def __init__(self, side: Side, switch: Switch | None) -> None:
        self._side = side
        self._switch = switch
        self.ops: list[Op] = []

    @property
    def serves(self) -> str:
        """``source`` or ``target``: the side that is written to, whose columns a row names. It stays until the transaction ends."""
        return self._switch.serves if self._switch is not None else "source"

    @property
    def speaker(self) -> Speaker:
        """The open session of the store that is written to."""
        return self._side.speaker

    def put(self, row: Mapping[str, Any], *, op_id: str = "") -> bool:
        """Write ``row`` by its key: insert it, or change the columns that it names. False when ``op_id`` was there before.

        ``op_id`` is the application's idempotency key: the same one again changes nothing. ``row`` names columns of the side that
        ``serves``. Raises ``ValueError`` for a column that is not there, a value that is not of its kind, or a key by which the
        store does not find the row again; nothing is written then.
        """
        fields = self._side.fields
        unknown = [n for n in row if n not in fields]
        if unknown:
            raise ValueError(
                f"{self._side.table.name}, the {self.serves} of the move {self._side.move}, serves and has no column {', '.join(unknown)}; its columns: {', '.join(fields)}."
                " Write the columns of the side that Write.serves names: it changes at the cutover and at a rollback."
            )
        texts = {n: of_python(v, fields[n].family) for n, v in row.items()}
        return self._do(self._key(row), texts, op_id)

    def delete(self, key: Mapping[str, Any], *, op_id: str = "") -> bool:
        """Take the row of ``key`` away; a tombstone keeps older images out. False when ``op_id`` was there before."""
        return self._do(self._key(key), None, op_id)

    def _key(self, row: Mapping[str, Any]) -> Texts:
        missing = [k.name for k in self._side.key if row.get(k.name) is None]
        if missing:
            raise ValueError(f"the key column {', '.join(missing)} has no value")
        return tuple(canonical_key(of_python(row[k.name], k.family), k.family) for k in self._side.key)

    def _read_back(self, key: Texts) -> Image:
        """The row just written, as the other side gets it. One that is not found would be carried as a delete."""
        found = self._side.images([key])
        if key not in found:
            raise ValueError(
                f"the row written into {self._side.table.name} is not found by its key {', '.join(map(repr, key))}; give the key in the type that the store holds"
            )
        return found[key]

    def _do(self, key: Texts, texts: Mapping[str, str | None] | None, op_id: str) -> bool:
        captured = self._switch is not None and self._switch.active
        rev = 0
        if captured:
            op_id = op_id or uuid.uuid4().hex
            taken = self._side.next_rev(key, op_id)
            if taken is None:
                return False
            rev = taken
        if texts is None:
            self._side.delete([key])
        else:
            self._side.write(texts, key)
        if captured:
            # What the store holds now, defaults and all, made into a row of the other side.
            image = None if texts is None else self._read_back(key)
            op = Op(op_id, key, image, rev)
            self._side.record(op)
            self.ops.append(op)
        return True


class DualWriter:
    """Writes to the side that serves, and brings each operation to the other side.

    Both in one call: the first leg in the transaction of the store that serves, with its operation in the outbox; the
    second leg after the commit. One that fails waits in the outbox for the relay, is counted in ``failed``, and never
    fails the application's write. Before a move is started, and after it has ended, only the first leg is done. Safe in
    threads: each has sessions of its own. Raises ``Refused`` (``MOVE_TRANSFORM``) when a function that makes columns is not
    of the declared version here: a process with other code must not begin to write.
    """

    only_source = False
    """True where every operation is brought over by the move, and the writer has the source alone."""

    def __init__(
        self, declared: declarations.DualDeclaration, places: Urls, *, instance: str = "",
        clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        load_all(declared.columns, declared.reverse)
        self.declared, self.places = declared, places
        self.instance = instance or f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}"
        self.failed = 0
        self._clock, self._sleep = clock, sleep
        self._own = threading.local()
        self._all: list[Pair] = []
        self._lock = threading.Lock()
        self._uncaptured = 0
        self._beaten = float("-inf")

    @classmethod
    def from_file(
        cls, file: str | Path, environ: Mapping[str, str] | None = None, *, instance: str = ""
    ) -> "DualWriter":
        """The writer for a declared move, with URLs from ``environ`` (the process's own). Raises ``ConfigError``."""
        around = os.environ if environ is None else environ
        if into.is_index(Path(file)):
            index = into.parse_index(Path(file), Path(file).stem)
            return OutboxWriter(index, Urls(into.source_url(index, around), ""), instance=instance)
        declared = declarations.parse(Path(file), Path(file).stem)
        return cls(declared, urls(declared, around), instance=instance)

    @contextmanager
    def transaction(self) -> Iterator[Write]:
        """A transaction on the side that serves; after it has committed, the second legs. Raises ``Busy`` (``MOVE_LOCK``) when the sides are being exchanged for too long."""
        side, other, switch = self._begin()
        captured = switch is not None and switch.active
        if not captured:
            with self._lock:
                self._uncaptured += 1
        write = Write(side, switch)
        try:
            try:
                yield write
            except BaseException:
                side.speaker.rollback()
                raise
            side.speaker.commit()
        except LockgateError:
            self._forget()
            raise
        finally:
            if not captured:
                with self._lock:
                    self._uncaptured -= 1
        if captured:
            self._after(side, other, write.ops)

    def put(self, row: Mapping[str, Any], *, op_id: str = "") -> bool:
        """``Write.put`` in a transaction of its own."""
        with self.transaction() as write:
            return write.put(row, op_id=op_id)

    def delete(self, key: Mapping[str, Any], *, op_id: str = "") -> bool:
        """``Write.delete`` in a transaction of its own."""
        with self.transaction() as write:
            return write.delete(key, op_id=op_id)

    def beat(self) -> None:
        """Show that this process lives and writes by way of this class. Writes do so themselves; idle processes call it now and then."""
        side, _, switch = self._begin()
        side.speaker.rollback()
        if switch is not None and switch.active:
            self._show(side)

    def close(self) -> None:
        """Close every session."""
        with self._lock:
            pairs, self._all = self._all, []
        for pair in pairs:
            pair.close()
        self._own = threading.local()

    def __enter__(self) -> "DualWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- within ---------------------------------------------------------------------------------------

    def _pair(self) -> Pair:
        pair: Pair | None = getattr(self._own, "pair", None)
        if pair is None:
            pair = self._open()
            self._own.pair = pair
            with self._lock:
                self._all.append(pair)
        return pair

    def _open(self) -> Pair:
        try:
            return open_pair(self.declared, self.places, "writer")
        except (NoTarget, ConfigError, Unreachable) as error:
            # Before the start the target may be neither made nor reached: that keeps no write back.
            if isinstance(error, ConfigError) and error.code != "TABLE_MISSING":
                raise
            with suppress(LockgateError):  # what is told is why there is no target
                if (alone := source_alone(self.declared, self.places, "writer")) is not None:
                    return alone
            raise

    def _drop(self, pair: Pair) -> None:
        """Close this thread's ``pair``; the next write opens another."""
        self._own.pair = None
        with self._lock:
            if pair in self._all:
                self._all.remove(pair)
        with suppress(LockgateError):
            pair.close()

    def _forget(self) -> None:
        """The session may be lost: the next write opens another, and looks at both sides anew unless one of them is away."""
        pair: Pair | None = getattr(self._own, "pair", None)
        if pair is not None and getattr(self._own, "away", None) is not None:
            serves = getattr(self._own, "serves", "source")
            asked = getattr(self._own, "asked", serves)
            with suppress(LockgateError):  # the next write tries again
                self._again(pair.of(asked)[0])
                if asked != serves:
                    self._own.away = None  # the side that was away serves now: it was turned while this process could not reach it
            return
        if pair is not None:
            self._drop(pair)

    def _begin(self) -> tuple[Side, Side, Switch | None]:
        """Open a transaction on the side that serves and hold its switch until the transaction ends."""
        try:
            return self._begun(self._pair())
        except LockgateError:
            self._forget()  # a session that was lost while it was idle shows here
            raise

    def _begun(self, pair: Pair) -> tuple[Side, Side, Switch | None]:
        deadline = self._clock() + PATIENCE
        wanted = getattr(self._own, "serves", "source")
        while True:
            side, other = pair.of(wanted)
            self._own.asked = wanted
            side.speaker.begin()
            try:
                switch = side.switch(hold=True)
            except BaseException:
                side.speaker.rollback()
                raise
            if pair.alone and not self.only_source and not uncaptured(switch):
                # The move has started since: from here on there are two sides.
                side.speaker.rollback()
                self._drop(pair)
                pair = self._pair()
                continue
            if switch is None:
                # No move was ever, so the source serves. PostgreSQL needs a new transaction after the question failed.
                side.speaker.rollback()
                if wanted != "source":
                    wanted = "source"
                    continue
                side.speaker.begin()
                return side, other, None
            if switch.serves == wanted:
                self._own.serves = wanted
                return side, other, switch
            side.speaker.rollback()
            if self._clock() >= deadline:
                raise Busy(f"the sides of the move {self.declared.name} are being exchanged", "MOVE_LOCK")
            wanted = "target" if wanted == "source" else "source"
            self._sleep(0.01)

    def _after(self, side: Side, other: Side, ops: list[Op]) -> None:
        """The second legs. Whatever goes wrong here, the write is done: the relay brings it over."""
        reached = self._reached(other)
        if reached is None:
            self.failed += len(ops)
            self._beat_now_and_then(side)
            return
        try:
            done = carry(side, reached, ops)
        except LockgateError:
            self.failed += len(ops)
            self._forget()
            return
        self.failed += done.failed
        if done.lost:
            self._own.away = self._clock()
        self._beat_now_and_then(side)

    def _reached(self, other: Side) -> Side | None:
        """The other side, in a new session when it was away; None while it is left alone: writes must not wait for its time-outs."""
        away: float | None = getattr(self._own, "away", None)
        if away is None:
            return other
        if self._clock() - away < AWAY_SECONDS:
            return None
        try:
            again = self._again(other)
        except LockgateError:
            self._own.away = self._clock()
            return None
        self._own.away = None
        return again

    def _again(self, side: Side) -> Side:
        """``side`` in a new session, in its place in this thread's pair."""
        pair: Pair = self._own.pair
        which = "source" if side is pair.source else "target"
        speaker = speak(getattr(self.places, which), f"move {self.declared.name} writer", which)
        again = side.by(speaker)
        setattr(pair, which, again)
        side.speaker.close()
        return again

    def _beat_now_and_then(self, side: Side) -> None:
        if self._clock() - self._beaten >= BEAT_SECONDS:
            with suppress(LockgateError):
                self._show(side)

    def _show(self, side: Side) -> None:
        # A transaction of another thread may have begun before the move did; its write is not captured.
        with self._lock:
            if self._uncaptured:
                return
        self._beaten = self._clock()
        side.beat(self.instance, self.failed)


class OutboxWriter(DualWriter):
    """The writer of a move into an index: the row and its operation in one transaction, the rest is the move's."""

    declared: into.IndexMove
    only_source = True

    def _open(self) -> Pair:
        return into.alone(self.declared, self.places.source)

    def _after(self, side: Side, other: Side, ops: list[Op]) -> None:
        self._beat_now_and_then(side)
