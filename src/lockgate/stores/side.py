"""One side of a dual-written table in a store that takes SQL: its rows, and beside them what a move keeps there.

Beside the table stand four small ones: ``rev`` (the revision of every key that was written, tombstones too), ``op`` (every
operation, and whether its second leg is done: the outbox), ``switch`` (which side serves: writers hold it while they
write), ``writer`` (who writes by way of ``DualWriter``).
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from lockgate.postgres.link import texts
from lockgate.postgres.moves.frozen import mark_of
from lockgate.postgres.quoting import literal
from lockgate.stores.making import Field, Given, Image, Read, Texts, Unmade, Value, Values, make
from lockgate.stores.neutral import canonical_key, native, neutral, read_sql, write_sql
from lockgate.stores.proof import Proof, TableProof
from lockgate.stores.rendering import row_bytes
from lockgate.stores.speaking import Locked, NoTable, P, PostgresSpeaker, Rejected, Speaker, in_list
from lockgate.stores.table import PACKED, Table

T = TypeVar("T")
PARAMETERS = 8_000
"""So many parameters a statement has at most."""
REFUSALS = 10
"""An operation that the other store refused so often is set aside: it is tried no more, and nothing can be proven or turned before it is mended."""
_WAITS, _DONE, _ASIDE = 0, 1, 2


class Switch(NamedTuple):
    """Which side serves (``source``, ``target``, or ``barred`` while it changes), since which epoch, and whether writes are captured."""

    serves: str
    epoch: int
    active: bool


class Op(NamedTuple):
    """One operation on a key: the image of the row, or None for a delete. An image that could not be made is made anew when the operation is carried."""

    id: str
    key: Texts
    image: Image | None
    rev: int


class Held(NamedTuple):
    """What a side knows about a key: the revision that it has, and how many operations made it so."""

    rev: int
    target_rev: int


class Writer(NamedTuple):
    """A process that writes by way of ``DualWriter``, seconds since it was seen, and how many of its second legs failed."""

    instance: str
    age: float
    failed: int


@lru_cache(16_384)
def key_id(key: Texts) -> str:
    """The name of a key in the side tables: 128 bits of SHA-256, the same in every engine and of every length."""
    return hashlib.sha256(row_bytes(list(key))).hexdigest()[:32]


_TYPES = {
    "postgres": ("varchar(32) COLLATE \"C\"", "varchar(200) COLLATE \"C\"", "text", "double precision", "extract(epoch FROM clock_timestamp())::float8"),
    "mysql": ("varchar(32) CHARACTER SET ascii COLLATE ascii_bin", "varchar(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "longtext CHARACTER SET utf8mb4", "double", "UNIX_TIMESTAMP(NOW(6))"),
    "sqlite": ("TEXT", "TEXT", "TEXT", "REAL", "(julianday('now') - 2440587.5) * 86400.0"),
}  # fmt: skip


class Side:
    """One store of a move, one session. In PostgreSQL the side tables stand in the schema ``lockgate``, elsewhere beside the table."""

    ahead_rows = 0
    """The backfill writes so many rows at once and reads the next ones meanwhile; 0: a whole range, and nothing meanwhile."""
    index_hash = ""
    """The identity of the index that rows go into, recorded with each operation; "" where they go into a table."""

    def __init__(
        self, speaker: Speaker, move: str, table: Table, key: Sequence[str], fields: Sequence[Field], given: Sequence[Given],
        *, second: bool = False,
    ) -> None:  # fmt: skip
        self.speaker, self.move, self.table = speaker, move, table
        self.second = second
        """True for the target of a move within one database: its side tables have names of their own, or both sides would share them."""
        self.fields = {f.name: f for f in fields}
        self.given = tuple(given)
        self.key = tuple(self.fields[k] for k in key)
        self.sql = speaker.name(table.name)

    def _side(self, what: str) -> str:
        dot = "." if self.speaker.engine == "postgres" else "_"
        return self.speaker.name(f"lockgate{dot}{self.stem}_{what}")

    @property
    def stem(self) -> str:
        """What the names of the side tables begin with."""
        # No move can be called so that its tables are another's.
        return f"{'dual2' if self.second else 'dual'}_{self.move}"

    # -- the side tables ------------------------------------------------------------------------------

    def create(self) -> None:
        """Make the side tables where they are missing; nothing is captured yet."""
        k, name, text, double, _ = _TYPES[self.speaker.engine]
        s = self._side
        for statement in (
            f"CREATE TABLE IF NOT EXISTS {s('rev')} (k {k} PRIMARY KEY, row_key {text} NOT NULL, rev bigint NOT NULL, target_rev bigint NOT NULL, gone int NOT NULL, op_id {name} NOT NULL, index_hash {name} NOT NULL)",
            f"CREATE TABLE IF NOT EXISTS {s('op')} (op_id {name} PRIMARY KEY, k {k} NOT NULL, row_key {text} NOT NULL, image {text}, source_rev bigint NOT NULL, target_rev bigint, index_hash {name} NOT NULL, state int NOT NULL, attempts int NOT NULL, error {text}, at {double} NOT NULL)",
            f"CREATE TABLE IF NOT EXISTS {s('switch')} (id int PRIMARY KEY, serves {name} NOT NULL, epoch bigint NOT NULL, active int NOT NULL)",
            f"CREATE TABLE IF NOT EXISTS {s('writer')} (instance {name} PRIMARY KEY, seen {double} NOT NULL, failed bigint NOT NULL)",
        ):
            self.speaker.do(statement)
        if self.speaker.engine == "mysql":
            if not self.speaker.ask(
                f"SELECT 1 FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = {P} AND index_name = 'waiting'",
                f"lockgate_{self.stem}_op",
            ):
                self.speaker.do(f"CREATE INDEX waiting ON {s('op')} (state, at)")
        else:
            # An index stands in the schema of its table.
            for what, state in (("waiting", _WAITS), ("aside", _ASIDE)):
                name_ = self.speaker.name(f"lockgate_{self.stem}_{what}")
                self.speaker.do(f"CREATE INDEX IF NOT EXISTS {name_} ON {s('op')} (at) WHERE state = {state}")

    def mark(self) -> None:
        """Say beside the outbox which table it stands by, so that ``up`` changes it while the move runs in no database. For PostgreSQL, which it migrates."""
        put_mark(self.speaker, self._side("op"), self.sql)

    def drop(self) -> None:
        """Take the side tables away, but the switch: it goes on telling writers where to write, and that nothing is captured."""
        for what in ("op", "rev", "writer"):
            self.speaker.do(f"DROP TABLE IF EXISTS {self._side(what)}")

    @contextmanager
    def transaction(self, *, read: bool = False, soon: bool = False) -> Iterator[None]:
        """A transaction: committed at the end of the block, rolled back when it raises.

        ``soon``: its commit need not wait for the disk, where a store has such a thing; who asks for that waits himself before he counts on it.
        """
        self.speaker.begin(read=read)
        try:
            yield
        except BaseException:
            self.speaker.rollback()
            raise
        self.speaker.commit()

    # -- who serves -----------------------------------------------------------------------------------

    def switch(self, *, hold: bool = False) -> Switch | None:
        """Which side serves, as this store says; None where no move was ever. With ``hold`` it cannot change before the transaction ends."""
        lock = (
            {"postgres": " FOR SHARE", "mysql": " LOCK IN SHARE MODE"}.get(self.speaker.engine, "")
            if hold
            else ""
        )
        try:
            rows = self.speaker.ask(
                f"SELECT serves, epoch, active FROM {self._side('switch')} WHERE id = 1{lock}"
            )
        except NoTable:
            return None
        return Switch(rows[0][0], int(rows[0][1]), bool(rows[0][2])) if rows else None

    def set_switch(self, switch: Switch) -> None:
        """Write which side serves. Waits for writers that hold it, and raises ``Locked`` when they hold it too long."""
        with self.transaction():
            self.put_switch(switch)

    def put_switch(self, switch: Switch) -> None:
        """``set_switch`` in the transaction that is open."""
        values = (switch.serves, switch.epoch, int(switch.active))
        if not self.speaker.do(f"UPDATE {self._side('switch')} SET serves = {P}, epoch = {P}, active = {P} WHERE id = 1", *values):  # fmt: skip
            self.speaker.do(f"INSERT INTO {self._side('switch')} (id, serves, epoch, active) VALUES (1, {P}, {P}, {P})", *values)  # fmt: skip

    def by(self, speaker: Speaker) -> "Side":
        """This side as another session of the same store speaks to it."""
        return Side(speaker, self.move, self.table, [k.name for k in self.key], list(self.fields.values()), self.given, second=self.second)  # fmt: skip

    def beat(self, instance: str, failed: int) -> None:
        """Show that ``instance`` writes by way of ``DualWriter``."""
        now = _TYPES[self.speaker.engine][4]
        with self.transaction():
            if not self.speaker.do(f"UPDATE {self._side('writer')} SET seen = {now}, failed = {P} WHERE instance = {P}", failed, instance):  # fmt: skip
                self.speaker.do(f"INSERT INTO {self._side('writer')} (instance, seen, failed) VALUES ({P}, {now}, {P})", instance, failed)  # fmt: skip

    def writers(self) -> list[Writer]:
        """Every process that was ever seen."""
        now = _TYPES[self.speaker.engine][4]
        rows = self.speaker.ask(
            f"SELECT instance, {now} - seen, failed FROM {self._side('writer')} ORDER BY instance"
        )
        return [Writer(i, float(age), int(failed)) for i, age, failed in rows]

    # -- the first leg --------------------------------------------------------------------------------

    def next_rev(self, key: Texts, op_id: str) -> int | None:
        """Take the next revision of ``key``, whose lock is held from here to the end of the transaction; None when ``op_id`` was there before."""
        rev, k = self._side("rev"), key_id(key)
        word, tail = self._or_nothing("k")
        self.speaker.do(
            f"INSERT{word} INTO {rev} (k, row_key, rev, target_rev, gone, op_id, index_hash) VALUES ({P}, {P}, 0, 0, 0, '', ''){tail}",
            k, json.dumps(key),
        )  # fmt: skip
        self.speaker.do(f"UPDATE {rev} SET rev = rev + 1 WHERE k = {P}", k)
        if self.speaker.ask(f"SELECT 1 FROM {self._side('op')} WHERE op_id = {P}", op_id):
            self.speaker.do(f"UPDATE {rev} SET rev = rev - 1 WHERE k = {P}", k)
            return None
        return int(self.speaker.ask(f"SELECT rev FROM {rev} WHERE k = {P}", k)[0][0])

    def record(self, op: Op) -> None:
        """Write an operation into the outbox, in the transaction that changes the row."""
        now = _TYPES[self.speaker.engine][4]
        k = key_id(op.key)
        self.speaker.do(
            f"INSERT INTO {self._side('op')} (op_id, k, row_key, image, source_rev, index_hash, state, attempts, at) VALUES ({P}, {P}, {P}, {P}, {P}, '', 0, 0, {now})",
            op.id, k, json.dumps(op.key), _stored(op.image), op.rev,
        )  # fmt: skip
        self.speaker.do(
            f"UPDATE {self._side('rev')} SET op_id = {P}, gone = {P} WHERE k = {P}", op.id, int(op.image is None), k
        )  # fmt: skip

    def write(self, values: Mapping[str, Value], key: Texts) -> None:
        """Write one row of the table: the named columns, by its key."""
        names = [n for n in values if n not in {f.name for f in self.key}]
        sets = ", ".join(f"{self.speaker.name(n)} = {self._mark(self.fields[n])}" for n in names)
        if names:
            own = [self._native(n, values[n]) for n in names]
            found = self.speaker.do(
                f"UPDATE {self.sql} SET {sets} WHERE {self._is_key()}", *own, *self._natives(key)
            )
        else:
            found = len(
                self.speaker.ask(f"SELECT 1 FROM {self.sql} WHERE {self._is_key()}", *self._natives(key))
            )
        if not found:
            self._insert(tuple(values), [tuple(values.values())])

    def delete(self, keys: Sequence[Texts]) -> None:
        """Take rows of the table away."""
        for part in _parts(keys, len(self.key)):
            self.speaker.do(f"DELETE FROM {self.sql} WHERE {self._in(len(part))}", *self._flat(part))

    # -- the outbox -----------------------------------------------------------------------------------

    def waiting(self, most: int, ids: Sequence[str] = ()) -> list[Op]:
        """Operations whose second leg is not done; only those of ``ids`` where some are named.

        The oldest first, but those that failed before come behind all others: however many of them there are, they keep nobody
        back. For one key that changes nothing, as an older image never overwrites a newer one.
        """
        found = self._waiting("attempts = 0", "at", most, ids)
        if len(found) < most:
            found += self._waiting("attempts > 0", "attempts, at", most - len(found), ids)
        return found

    def _waiting(self, which: str, order: str, most: int, ids: Sequence[str]) -> list[Op]:
        chosen = f" AND op_id IN ({', '.join([P] * len(ids))})" if ids else ""
        rows = self.speaker.ask(
            f"SELECT op_id, row_key, image, source_rev FROM {self._side('op')} WHERE state = {_WAITS} AND {which}{chosen} ORDER BY {order} LIMIT {most}", *ids
        )  # fmt: skip
        return [Op(i, tuple(json.loads(k)), _loaded(image), int(rev)) for i, k, image, rev in rows]

    def backlog(self) -> tuple[int, int]:
        """(operations that wait or were set aside, those of them that failed before)."""
        row = self.speaker.ask(f"SELECT count(*), COALESCE(sum(CASE WHEN attempts > 0 THEN 1 ELSE 0 END), 0) FROM {self._side('op')} WHERE state = {_WAITS}")[0]  # fmt: skip
        aside = self.aside()
        return int(row[0]) + aside, int(row[1]) + aside

    def aside(self) -> int:
        """How many operations are tried no more."""
        return int(self.speaker.ask(f"SELECT count(*) FROM {self._side('op')} WHERE state = {_ASIDE}")[0][0])

    def failing(self, most: int) -> list[tuple[Texts, str]]:
        """(key, error) of operations whose second leg failed, those that were set aside first."""
        found: list[tuple[Texts, str]] = []
        for which in (f"state = {_ASIDE}", f"state = {_WAITS} AND attempts > 0"):
            rows = self.speaker.ask(f"SELECT row_key, error FROM {self._side('op')} WHERE {which} ORDER BY at LIMIT {most - len(found)}")  # fmt: skip
            found += [(tuple(json.loads(k)), error or "") for k, error in rows]
        return found

    def done(self, ops: Iterable[Op], revs: Mapping[str, int], index_hash: str = "") -> None:
        """The second legs of ``ops`` are in the other store, which counts ``revs`` operations on their keys."""
        said = f"UPDATE {self._side('op')} SET state = {_DONE}, image = NULL, error = NULL, target_rev = {P}, index_hash = {P} WHERE op_id = {P}"
        with self.transaction():
            newest: dict[str, int] = {}
            for op in sorted(ops, key=lambda o: o.id):
                k = key_id(op.key)
                newest[k] = max(op.rev, newest.get(k, 0))
                self.speaker.do(said, revs.get(k, 0), index_hash, op.id)
            # What a later operation of its key has overtaken need not be mended any more.
            for id_, k, rev in self.speaker.ask(f"SELECT op_id, k, source_rev FROM {self._side('op')} WHERE state = {_ASIDE}"):  # fmt: skip
                if int(rev) < newest.get(k, 0):
                    self.speaker.do(said, revs.get(k, 0), index_hash, id_)

    def failed(self, ops: Iterable[Op], error: str, *, refused: bool = False, away: bool = False) -> None:
        """The second legs of ``ops`` failed; they wait, or are set aside when the other store ``refused`` them too often. While it is ``away`` nothing counts against them."""
        count = "CASE WHEN attempts = 0 THEN 1 ELSE attempts END" if away else "attempts + 1"
        with self.transaction():
            for op in sorted(ops, key=lambda o: o.id):
                self.speaker.do(f"UPDATE {self._side('op')} SET attempts = {count}, error = {P} WHERE op_id = {P} AND state = {_WAITS}", error[:500], op.id)  # fmt: skip
                if refused:
                    self.speaker.do(f"UPDATE {self._side('op')} SET state = {_ASIDE} WHERE op_id = {P} AND state = {_WAITS} AND attempts >= {REFUSALS}", op.id)  # fmt: skip

    def gone(self, keys: Sequence[Texts]) -> set[Texts]:
        """Those of ``keys`` whose last operation here deleted the row."""
        named = {key_id(key): key for key in keys}
        found: set[Texts] = set()
        for part in _parts(list(named), 1):
            rows = self.speaker.ask(f"SELECT k FROM {self._side('rev')} WHERE gone = 1 AND k IN ({', '.join([P] * len(part))})", *part)  # fmt: skip
            found |= {named[k] for (k,) in rows}
        return found

    # -- the second leg -------------------------------------------------------------------------------

    def prepare(self, ops: Sequence[Op], names: Sequence[str]) -> None:
        """Do what takes long and needs no lock, before the transaction in which ``apply`` is called with the same operations."""

    def make_ready(self, ops: Sequence[Op], names: Sequence[str]) -> Any:
        """What ``prepare`` does for these operations, as a value for ``take``. Touches no session, so another thread may do it."""

    def take(self, ready: Any) -> None:
        """Take what ``make_ready`` gave for the operations that ``apply`` is called with next, in place of ``prepare``."""

    def proof(self, given: Sequence[Given]) -> Proof:
        """A comparison of images of ``given`` with what is here, range by range."""
        return TableProof(self, given)

    def apply(self, ops: Sequence[Op], names: Sequence[str]) -> dict[str, int]:
        """Bring rows to the images of ``ops`` (in the order of ``names``), each only when it is newer than what is here. In a transaction.

        Gives for each key how many operations it has seen. The order of arrival does not matter, nor does repetition:
        an older image, or one that a tombstone outlived, changes nothing.
        """
        newest: dict[str, Op] = {}
        for op in ops:
            k = key_id(op.key)
            if k not in newest or newest[k].rev < op.rev:
                newest[k] = op
        order = sorted(newest)  # everybody locks in one order
        held = self._hold(order)
        fresh = [k for k in order if k not in held]
        self._begin_keys([newest[k] for k in fresh])
        newer = {k: None for k in order if k in held and held[k].rev < newest[k].rev}
        for k in newer:
            op = newest[k]
            self.speaker.do(
                f"UPDATE {self._side('rev')} SET rev = {P}, target_rev = target_rev + 1, gone = {P}, op_id = {P}, index_hash = {P} WHERE k = {P}",
                op.rev, int(op.image is None), op.id, self.index_hash, k,
            )  # fmt: skip
        chosen = [newest[k] for k in (*fresh, *newer)]
        self.delete([op.key for op in chosen if op.image is None])
        self._put([(op.key, op.image) for op in chosen if op.image is not None and not isinstance(op.image, Unmade)], names)  # fmt: skip
        return dict.fromkeys(fresh, 1) | {k: held[k].target_rev + (k in newer) for k in order if k in held}

    def _begin_keys(self, ops: Sequence[Op]) -> None:
        """Write the first revision of keys that were never seen here. Raises ``Locked`` when another process was faster."""
        word, tail = self._or_nothing("k")
        for part in _parts(ops, 7):
            rows = [(key_id(op.key), json.dumps(op.key), op.rev, int(op.image is None), op.id, self.index_hash) for op in part]  # fmt: skip
            marks = ", ".join([f"({P}, {P}, {P}, 1, {P}, {P}, {P})"] * len(rows))
            made = self.speaker.do(
                f"INSERT{word} INTO {self._side('rev')} (k, row_key, rev, target_rev, gone, op_id, index_hash) VALUES {marks}{tail}",
                *(v for row in rows for v in row),
            )  # fmt: skip
            if made != len(rows):
                raise Locked(f"{self.speaker.where}: another process wrote the same rows at this moment")

    def _hold(self, ks: Sequence[str]) -> dict[str, Held]:
        lock = {"postgres": " FOR UPDATE", "mysql": " FOR UPDATE"}.get(self.speaker.engine, "")
        found: dict[str, Held] = {}
        for part in _parts(ks, 1):
            among, values = self._among(part)
            for k, rev, target_rev in self.speaker.ask(f"SELECT k, rev, target_rev FROM {self._side('rev')} WHERE k {among} ORDER BY k{lock}", *values):  # fmt: skip
                found[k] = Held(int(rev), int(target_rev))
        return found

    def _put(self, rows: Sequence[tuple[Texts, Values]], names: Sequence[str]) -> None:
        there = {key for key, _ in self.rows([key for key, _ in rows], [k.name for k in self.key])}
        self._insert(names, [image for key, image in rows if key not in there])
        for key, image in rows:
            if key in there:
                self.write(dict(zip(names, image, strict=True)), key)

    def _insert(self, names: Sequence[str], rows: Sequence[Values]) -> None:
        columns = ", ".join(self.speaker.name(n) for n in names)
        marks = f"({', '.join(self._mark(self.fields[n]) for n in names)})"
        for part in _parts(rows, len(names)):
            self.speaker.do(
                f"INSERT INTO {self.sql} ({columns}) VALUES {', '.join([marks] * len(part))}",
                *(self._native(n, v) for row in part for n, v in zip(names, row, strict=True)),
            )

    # -- reading --------------------------------------------------------------------------------------

    def rows(self, keys: Sequence[Texts], names: Sequence[str]) -> list[tuple[Texts, Texts]]:
        """(key, own columns ``names``) of the rows with these keys."""
        found: list[tuple[Texts, Texts]] = []
        for part in _parts(keys, len(self.key)):
            found += self._select([self._read(self.fields[n]) for n in names], f"WHERE {self._in(len(part))}", self._flat(part))  # fmt: skip
        return found

    def images(self, keys: Sequence[Texts]) -> dict[Texts, Image]:
        """What this side gives for the rows with these keys."""
        found: dict[Texts, Image] = {}
        for part in _parts(keys, len(self.key)):
            found |= dict(self._made(f"WHERE {self._in(len(part))}", self._flat(part)))
        return found

    def between(self, low: Texts | None, high: Texts | None, first: int = 0) -> list[tuple[Texts, Image]]:
        """(key, what this side gives) of the rows above ``low`` (None: from the beginning) up to ``high`` (None: to the end); only the ``first`` so many, in the order of their keys, where that is not 0."""
        names = ", ".join(self.speaker.name(k.name) for k in self.key)
        marks = ", ".join(self._mark(k) for k in self.key)
        bounds = [
            (f"({names}) {how} ({marks})", key) for how, key in (("<=", high), (">", low)) if key is not None
        ]
        where = f"WHERE {' AND '.join(sql for sql, _ in bounds)}" if bounds else ""
        tail = f" ORDER BY {names} LIMIT {first}" if first else ""
        return self._made(where + tail, [v for _, key in bounds for v in self._natives(key)])

    def dangling(
        self, columns: Sequence[str], table: str, key: Sequence[str], keys: Sequence[Texts] | None
    ) -> list[Texts]:
        """The keys of rows (of these ``keys``, or of all) whose ``columns`` are not found in ``key`` of ``table`` in this store; NULL points at nothing and is none."""
        name = self.speaker.name
        own = [f"{self.sql}.{name(c)}" for c in columns]
        met = " AND ".join(f"lockgate_p.{name(k)} = {c}" for k, c in zip(key, own, strict=True))
        where = " AND ".join(f"{c} IS NOT NULL" for c in own)
        where += f" AND NOT EXISTS (SELECT 1 FROM {name(table)} lockgate_p WHERE {met})"
        if keys is None:
            return [k for k, _ in self._select((), f"WHERE {where}", ())]
        return [k for part in _parts(keys, len(self.key)) for k, _ in self._select((), f"WHERE {self._in(len(part))} AND {where}", self._flat(part))]  # fmt: skip

    def boundary(self, after: Texts | None, rows: int) -> Texts | None:
        """The key of the ``rows``-th row above ``after``, or the last there is; None when there is none."""
        names = ", ".join(self.speaker.name(k.name) for k in self.key)
        where = f"WHERE ({names}) > ({', '.join(self._mark(k) for k in self.key)})" if after else ""
        parameters = self._natives(after) if after else []
        down = ", ".join(f"{self.speaker.name(k.name)} DESC" for k in self.key)
        for tail in (f"ORDER BY {names} LIMIT 1 OFFSET {rows - 1}", f"ORDER BY {down} LIMIT 1"):
            found = self._select((), f"{where} {tail}", parameters)
            if found:
                return found[0][0]
        return None

    def revs(self, keys: Sequence[Texts]) -> dict[str, int]:
        """The revisions of those keys that were ever written, by ``key_id``."""
        found: dict[str, int] = {}
        for part in _parts([key_id(k) for k in keys], 1):
            among, values = self._among(part)
            found |= {k: int(rev) for k, rev in self.speaker.ask(f"SELECT k, rev FROM {self._side('rev')} WHERE k {among}", *values)}  # fmt: skip
        return found

    def _made(self, tail: str, parameters: Sequence[object]) -> list[tuple[Texts, Image]]:
        reads = [read for g in self.given for read in g.reads(self.speaker.name)]
        unread: dict[Texts, Unmade] = {}
        rows = self._select(reads, tail, parameters, unread)
        if not unread and not any(g.of for g in self.given):
            return [*rows]
        return [(key, unread.get(key) or make(self.given, texts)) for key, texts in rows]

    def _read(self, field: Field) -> Read:
        return Read(self.speaker.name(field.name), field.family, field.type)

    def _select(
        self, columns: Sequence[Read], tail: str, parameters: Sequence[object], unread: dict[Texts, Unmade] | None = None,
    ) -> list[tuple[Texts, tuple[Any, ...]]]:  # fmt: skip
        """(key, ``columns``) of rows. A value that is not of its kind is told in ``unread`` by the row's key, and stands as a text that equals no other; one in a key raises ``Rejected``."""
        items = [*map(self._read, self.key), *columns]
        engine = self.speaker.engine
        # Names of their own: PostgreSQL would take the text of a key for the key in ORDER BY, and 10 comes before 9 there.
        select = ", ".join(f"{read_sql(sql, family, engine, type_)} AS lockgate_{at}" for at, (sql, family, type_) in enumerate(items))  # fmt: skip
        count = len(self.key)
        found = []
        families = [family for _, family, _ in items]
        rows = self.speaker.ask(f"SELECT {select} FROM {self.sql} {tail}", *parameters, binary=PACKED in families)  # fmt: skip
        # What PostgreSQL gives is text already, and a move asks for every row of a table.
        if engine == "postgres" and "float" not in families and "decimal" not in families[:count]:
            return [(row[:count], row[count:]) for row in rows]
        for row in rows:
            values: list[Any] = []
            wrong = ""
            for at, (value, family) in enumerate(zip(row, families, strict=True)):
                try:
                    values.append(value if engine == "postgres" and family != "float" else neutral(value, family))  # fmt: skip
                except (ValueError, ArithmeticError) as error:
                    name = self.key[at].name if at < count else columns[at - count].sql
                    wrong = f"{self.speaker.where}: {name} of {self.table.name} holds a value that is not of its kind: {error}"
                    if at < count:
                        raise Rejected(wrong) from None
                    values.append(f"\0{type(value).__name__}:{value!r}")
            key = tuple(canonical_key(t, k.family) for t, k in zip(values[:count], self.key, strict=True))
            if wrong and unread is not None:
                unread[key] = Unmade(wrong)
            found.append((key, tuple(values[count:])))
        return found

    # -- words ----------------------------------------------------------------------------------------

    def _mark(self, field: Field) -> str:
        return write_sql(P, field.family, self.speaker.engine, field.type)

    def _native(self, name: str, text: Value) -> object:
        assert not isinstance(text, bytes), "a table has no column of this family"
        return native(text, self.fields[name].family, self.speaker.engine)

    def _natives(self, key: Texts) -> list[object]:
        return [native(t, f.family, self.speaker.engine) for t, f in zip(key, self.key, strict=True)]

    def _flat(self, keys: Sequence[Texts]) -> list[object]:
        return [v for key in keys for v in self._natives(key)]

    def _in(self, count: int) -> str:
        return in_list(self.speaker, [self.speaker.name(k.name) for k in self.key], [self._mark(k) for k in self.key], count)  # fmt: skip

    def _is_key(self) -> str:
        return " AND ".join(f"{self.speaker.name(k.name)} = {self._mark(k)}" for k in self.key)

    def _among(self, ks: Sequence[str]) -> tuple[str, list[object]]:
        """A condition that a name of a key is one of ``ks``, and its parameters: one array where there are arrays, as thousands of parameters cost more than the query."""
        if self.speaker.engine == "postgres":
            return f"= ANY ({P}::text[])", [texts(ks)]
        return f"IN ({', '.join([P] * len(ks))})", list(ks)

    def _or_nothing(self, key: str) -> tuple[str, str]:
        if self.speaker.engine == "mysql":
            return " IGNORE", ""
        return "", f" ON CONFLICT ({key}) DO NOTHING"


def put_mark(speaker: Speaker, beside: str, table: str) -> None:
    """Name ``table`` in a comment of the side table ``beside``; both as SQL takes them. Does nothing where it says so already."""
    if not isinstance(speaker, PostgresSpeaker):
        return
    found = speaker.ask(
        "SELECT n.nspname, c.relname, pg_catalog.obj_description(pg_catalog.to_regclass($2), 'pg_class') FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.oid = pg_catalog.to_regclass($1) AND pg_catalog.to_regclass($2) IS NOT NULL",
        table, beside,
    )  # fmt: skip
    for schema, name, before in found:
        mark = mark_of(schema, name)
        if mark != before:
            speaker.do(f"COMMENT ON TABLE {beside} IS {literal(mark)}")


def _stored(image: Image | None) -> str | None:
    if isinstance(image, Unmade):
        return json.dumps(image._asdict())
    return (
        None if image is None else json.dumps([f"\\x{v.hex()}" if isinstance(v, bytes) else v for v in image])
    )


def _loaded(text: str | None) -> Image | None:
    found = None if text is None else json.loads(text)
    return Unmade(**found) if isinstance(found, dict) else None if found is None else tuple(found)


def _parts(items: Sequence[T], width: int) -> Iterator[Sequence[T]]:
    """``items`` cut so that each part fits into one statement."""
    step = max(1, PARAMETERS // max(1, width))
    for start in range(0, len(items), step):
        yield items[start : start + step]
