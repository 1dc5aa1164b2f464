"""A generation of an index as the second side of a dual-written table: images of rows come in, records are written."""

import hashlib
import itertools
import json
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec

from lockgate.errors import LockgateError, Refused
from lockgate.indexes.embedders import Embedder, embed_all
from lockgate.indexes.records import RecordError, as_vector, canonical_json
from lockgate.indexes.register import Generation
from lockgate.moves.dual.into import COLUMNS
from lockgate.postgres.link import TEXT, Link, array, numbers, texts
from lockgate.postgres.sqlstate import ServerError
from lockgate.stores.content import Content, Record, bucket_digest, digest_of_record, index_hash
from lockgate.stores.making import Field, Given, Image, Texts, Unmade, Value, Values
from lockgate.stores.open_search import IN_DATABASE
from lockgate.stores.pgsearch import SCHEMA
from lockgate.stores.searching import LiveStore
from lockgate.stores.side import Op, Side, Switch, key_id, put_mark
from lockgate.stores.speaking import Locked, P, PostgresSpeaker, Rejected
from lockgate.stores.table import ANY
from lockgate.stores.vectors import Packed, is_zero, packed

NEW, OLD = "new", "old"
"""The generation that is being filled, and the one that served when the move started."""


class Fed(NamedTuple):
    """A generation, where it lives, and what makes its vectors; None where the source holds them, or it has none."""

    row: Generation
    store: LiveStore
    embedder: Embedder | None


class Ready(NamedTuple):
    """Records as they are written, by the keys of their rows, and their digests by their ids."""

    records: dict[Texts, Record]
    digests: dict[str, bytes]


class IndexSide(Side):
    """One generation. The revisions of its records stand in the project's database, which ``speaker`` is a session of.

    ``older`` is the generation that serves: what the application writes goes there too, with revisions of its own. What the
    backfill copies does not: the old generation has it, or had its own reasons.
    """

    speaker: PostgresSpeaker
    ahead_rows = 2_500

    def __init__(self, speaker: PostgresSpeaker, source: Side, fed: Fed, role: str, older: "IndexSide | None" = None) -> None:  # fmt: skip
        super().__init__(speaker, source.move, source.table, [k.name for k in source.key], list(source.fields.values()), ())  # fmt: skip
        self.fed, self.role, self.older = fed, role, older
        empty = Content(0, {}).root
        self.index_hash = fed.row.index_hash or index_hash(fed.row.spec_hash, empty, 0)
        self._ready = Ready({}, {})
        self._embedding = threading.Lock()
        """The backfill makes records of the next rows in a thread of its own."""

    @property
    def link(self) -> Link:
        """The session in the project's database; an index that lives there is written through it too."""
        return self.speaker.link

    def _side(self, what: str) -> str:
        return self.speaker.name(f"lockgate.into_{self.move}_{self.role}_{what}")

    # -- the side tables: revisions only --------------------------------------------------------------

    def create(self) -> None:
        """See ``Side``."""
        self.speaker.do(
            f'CREATE TABLE IF NOT EXISTS {self._side("rev")} (k varchar(32) COLLATE "C" PRIMARY KEY, row_key text NOT NULL, rev bigint NOT NULL, '
            'target_rev bigint NOT NULL, gone int NOT NULL, op_id varchar(200) COLLATE "C" NOT NULL, index_hash varchar(200) COLLATE "C" NOT NULL)'
        )
        if self.older is not None:
            self.older.create()

    def mark(self) -> None:
        """See ``Side``. An index that is a table of this database, of either generation."""
        if self.fed.row.store in IN_DATABASE:
            put_mark(self.speaker, self._side("rev"), self.speaker.name(f"{SCHEMA}.{self.fed.row.physical}"))
        if self.older is not None:
            self.older.mark()

    def drop(self) -> None:
        """See ``Side``. The tables of both generations."""
        for role in (NEW, OLD):
            self.speaker.do(
                f"DROP TABLE IF EXISTS {self.speaker.name(f'lockgate.into_{self.move}_{role}_rev')}"
            )

    def set_switch(self, switch: Switch) -> None:
        """See ``Side``. Writers never write here, so there is no switch: the alias is what turns."""

    @contextmanager
    def transaction(self, *, read: bool = False, soon: bool = False) -> Iterator[None]:
        """See ``Side``. Waits while ``still`` holds the index. ``soon``: the ledger is in this database, and its commit brings to the disk what was committed before it."""
        later = "SET LOCAL synchronous_commit = off; " if soon else ""
        try:
            self.speaker.do(f"BEGIN; {later}SELECT pg_catalog.pg_advisory_xact_lock_shared({_lock_of(self.move)})")  # fmt: skip
            yield
        except BaseException:
            self.speaker.rollback()
            raise
        self.speaker.commit()

    @contextmanager
    def still(self) -> Iterator[None]:
        """Nobody but this session writes records of the move within the block: what is looked at does not change."""
        self.speaker.ask("SELECT pg_catalog.pg_advisory_lock($1)", _lock_of(self.move))
        try:
            yield
        finally:
            if self.link.alive:
                self.link.rollback()
                self.speaker.ask("SELECT pg_catalog.pg_advisory_unlock($1)", _lock_of(self.move))

    # -- records --------------------------------------------------------------------------------------

    def prepare(self, ops: Sequence[Op], names: Sequence[str]) -> None:
        """See ``Side``. Embeds the newest image of each key, before any lock is taken."""
        self.take(self.make_ready(ops, names))
        if self.older is not None and any(op.id for op in ops):
            self.older.prepare(ops, names)

    def make_ready(self, ops: Sequence[Op], names: Sequence[str]) -> Ready:
        """See ``Side``. Raises ``Rejected`` for an image that cannot be a record."""
        newest: dict[Texts, Op] = {}
        for op in ops:
            if op.key not in newest or newest[op.key].rev < op.rev:
                newest[op.key] = op
        images = _made(newest.values())
        made = self.records(images, names)
        records = {key: record for (key, _), record in zip(images, made, strict=True)}
        carried = any(op.id for op in ops)  # of which nobody asks for digests
        return Ready(records, {} if carried else {r.id: digest_of_record(r) for r in made})

    def take(self, ready: Ready) -> None:
        """See ``Side``."""
        self._ready = ready

    def proof(self, given: Sequence[Given]) -> "RecordProof":
        """See ``Side``. The digests are those of records, the vectors' among them."""
        return RecordProof(self, given)

    def apply(self, ops: Sequence[Op], names: Sequence[str]) -> dict[str, int]:
        """See ``Side``."""
        counts = super().apply(ops, names)
        if self.older is not None and any(op.id for op in ops):
            self.older.apply(ops, names)
        return counts

    def _begin_keys(self, ops: Sequence[Op]) -> None:
        """See ``Side``. By arrays: a statement of thousands of parameters costs more than what it writes."""
        if not ops:
            return
        into = f"INSERT INTO {self._side('rev')} (k, row_key, rev, target_rev, gone, op_id, index_hash)"
        words = [
            texts([key_id(op.key) for op in ops]),
            array([msgspec.json.encode(op.key) for op in ops], TEXT),
        ]
        like = {(op.rev, op.image is None, op.id) for op in ops}
        if len(like) == 1:  # as nearly all are that the backfill brings
            [(rev, gone, id_)] = like
            what = f"{P}::bigint, 1, {P}::int, {P}::text, {P} FROM unnest({P}::text[], {P}::text[]) u (k, r)"
            values: list[object] = [rev, int(gone), id_, self.index_hash, *words]
        else:
            arrays = ", ".join(f"{P}::{kind}[]" for kind in ("text", "text", "bigint", "bigint", "text"))
            what = f"v, 1, g, o, {P} FROM unnest({arrays}) u (k, r, v, g, o)"
            values = [self.index_hash, *words, numbers([op.rev for op in ops]), numbers([op.image is None for op in ops]), texts([op.id for op in ops])]  # fmt: skip
        made = self.speaker.do(f"{into} SELECT k, r, {what} ON CONFLICT (k) DO NOTHING", *values)
        if made != len(ops):
            raise Locked(f"{self.speaker.where}: another process wrote the same rows at this moment")

    def delete(self, keys: Sequence[Texts]) -> None:
        """See ``Side``."""
        if keys:
            with self._writing():
                self.fed.store.delete(self.fed.row.physical, [self.id_of(k) for k in keys])

    def _put(self, rows: Sequence[tuple[Texts, Values]], names: Sequence[str]) -> None:
        if rows:
            with self._writing():
                self.fed.store.upsert(self.fed.row.physical, [self._ready.records[key] for key, _ in rows])

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """What a store says of a write, in the words of the move: a record that it refuses, or a failure that may pass."""
        try:
            yield
        except Refused as error:
            if error.code == "INDEX_RECORD":
                raise Rejected(error.message) from None
            raise
        except ServerError as error:
            raise self.speaker.translated(error) from None
        except LockgateError:
            raise
        except Exception as error:
            raise LockgateError(
                f"the store of {self.fed.row.physical}: {type(error).__name__}: {str(error)[:300]}", "INDEX_STORE"
            ) from error  # fmt: skip

    def records(self, images: Sequence[tuple[Texts, Values]], names: Sequence[str]) -> list[Record]:
        """The records of images, with their vectors. Raises ``Rejected`` for one that cannot be a record."""
        at = [names.index(c) if c in names else None for c in COLUMNS]
        made = [self._record(key, *(None if n is None else image[n] for n in at)) for key, image in images]
        if self.fed.embedder is None:
            return made
        embedding = self.fed.row.manifest.embedding
        prefix = embedding.document_prefix if embedding is not None else ""
        with self._embedding:
            vectors = embed_all(self.fed.embedder, [prefix + r.text for r in made])
        return [r._replace(vector=self._comparable(r.id, packed(v))) for r, v in zip(made, vectors, strict=True)]  # fmt: skip

    def _comparable(self, id_: str, data: bytes) -> Packed:
        """A vector that a search can compare. Raises ``Rejected`` for one of length 0 where it cannot: nobody would ever find the record."""
        if is_zero(data) and not self.fed.row.manifest.takes_zero:
            raise Rejected(f"record {id_!r}: its vector has the length 0")
        return Packed(data)

    def _record(self, key: Texts, text: Any, payload: Any, vector: Value) -> Record:
        id_ = self.id_of(key)
        manifest = self.fed.row.manifest
        stored = manifest.kind == "vector" and self.fed.embedder is None
        if text is None and not stored:
            raise Rejected(f"record {id_!r}: columns.text gives NULL for its row")
        text = text or ""
        if self.fed.embedder is not None and not text.strip():
            raise Rejected(f"record {id_!r}: it has no text to make a vector of")
        if not id_ or "\0" in id_ or "\0" in text:
            raise Rejected(f"record {id_!r}: its id is empty, or id or text holds a NUL")
        found = None
        try:
            told = canonical_json(json.loads(payload)) if payload else "{}"
            told.encode()  # half of a surrogate pair is no character
            dimension = manifest.dimension
            if dimension and self.fed.embedder is None:
                given = as_vector(listed(vector), f"record {id_!r}")
                if given is None or len(given) != dimension:
                    raise Rejected(f"record {id_!r} has {len(given or ())} components, not {dimension}")
                found = self._comparable(id_, packed(given))
        except RecordError as error:
            raise Rejected(error.message) from None
        except ValueError as error:
            raise Rejected(f"record {id_!r}: its payload is not JSON that can be kept: {error}") from None
        return Record(id_, text, told, found)

    def digests(self, images: Sequence[tuple[Texts, Image]], names: Sequence[str]) -> dict[str, bytes]:
        """The record digests that these images have once they are written, by id. One that cannot be a record has an empty one."""
        whole = [(key, image) for key, image in images if not isinstance(image, Unmade)]
        none = {self.id_of(key): b"" for key, image in images if isinstance(image, Unmade)}
        try:
            return none | {r.id: digest_of_record(r) for r in self.records(whole, names)}
        except Rejected:
            if len(whole) == 1:
                return none | {self.id_of(whole[0][0]): b""}
            return none | {k: v for one in whole for k, v in self.digests([one], names).items()}

    def wanted(self, ops: Sequence[Op], names: Sequence[str]) -> dict[str, bytes]:
        """The record digests of the images of ``ops``, by id: those that were taken ready, or made now."""
        images = _made(ops)
        if len(self._ready.digests) == len(images) and self._ready.records.keys() == {k for k, _ in images}:
            return self._ready.digests
        return self.digests(images, names)

    def there(self, ids: Sequence[str]) -> dict[str, bytes]:
        """The record digests of those ids that the generation holds."""
        with self._writing():
            return self.fed.store.record_digests(self.fed.row.physical, ids)

    # -- names ----------------------------------------------------------------------------------------

    def id_of(self, key: Texts) -> str:
        """The id of a row's record: its key, or the JSON list of a key of several columns."""
        return record_id(key, self.key)

    def keys_of(self, source: Side, ids: Sequence[str]) -> dict[str, Texts]:
        """The key of each record's row by its id, which does not say of what type a value without a type is: the source says it, else what was written here, else the column's type."""
        meant = {id_: possible_keys(id_, self.key) for id_ in ids}
        every = [key for keys in meant.values() for key in keys]
        there = {self.id_of(key): key for key, _ in source.rows(every, [k.name for k in self.key])}
        written = self._written([key for id_, keys in meant.items() if id_ not in there for key in keys])
        return {id_: there.get(id_) or next((k for k in keys if k in written), keys[0]) for id_, keys in meant.items()}  # fmt: skip

    def _written(self, keys: Sequence[Texts]) -> set[Texts]:
        """Those of ``keys`` that an operation of the move wrote or deleted here."""
        held = self._hold([key_id(key) for key in keys])
        return {key for key in keys if key_id(key) in held}


class RecordProof:
    """Records of an index, by their sorted digests; see ``Proof``."""

    def __init__(self, side: IndexSide, given: Sequence[Given]) -> None:
        self._side, self._names = side, [g.name for g in given]
        self._mine: list[bytes] = []
        self._there: list[bytes] = []

    def add(self, ops: Sequence[Op]) -> None:
        """See ``Proof``."""
        mine = self._side.wanted(ops, self._names)
        self._mine += mine.values()
        self._there += self._side.there(list(mine)).values()

    def told(self) -> tuple[int, str, str]:
        """See ``Proof``."""
        return len(self._there), bucket_digest(self._mine).hex(), bucket_digest(self._there).hex()


def record_id(key: Texts, fields: Sequence[Field]) -> str:
    """The id of the record of a row. A column that says nothing of its type gives its value without the mark of the kind."""
    if len(fields) == 1 and fields[0].family != ANY:
        return key[0] or ""
    texts = [(t or "")[2:] if f.family == ANY else t or "" for t, f in zip(key, fields, strict=True)]
    return texts[0] if len(texts) == 1 else json.dumps(texts, ensure_ascii=False, separators=(",", ":"))


def possible_keys(id: str, fields: Sequence[Field]) -> list[Texts]:
    """The keys whose record has this id, the likeliest by the columns' types first. Pure."""
    parts: list[str] = [id]
    if len(fields) > 1:
        try:
            parts = [str(part) for part in json.loads(id)]
        except (ValueError, TypeError):
            parts = []
        if len(parts) != len(fields):
            parts = [id] * len(fields)  # a stranger's id, which is no row's
    return list(
        itertools.product(*(_possible(text, field) for text, field in zip(parts, fields, strict=True)))
    )


def _possible(text: str, field: Field) -> list[str]:
    if field.family != ANY:
        return [text]
    found = [f"s:{text}"]
    if re.fullmatch(r"0|-?[1-9][0-9]{0,18}", text) and -(2**63) <= int(text) < 2**63:
        # A column of text holds no numbers; any other one makes numbers of digits, where it has a say.
        found.insert(len(found) if any(t in field.type.upper() for t in ("CHAR", "CLOB", "TEXT")) else 0, f"i:{text}")  # fmt: skip
    if re.fullmatch(r"[0-9a-f]{16}", text):
        found.append(f"f:{text}")
    if re.fullmatch(r"(?:[0-9a-f]{2})*", text):
        found.append(f"b:{text}")
    return found


def listed(vector: Value) -> Value:
    """A vector as a source gives it; an array of PostgreSQL as a list of JSON."""
    return vector.replace("{", "[").replace("}", "]") if isinstance(vector, str) else vector


def _made(ops: Iterable[Op]) -> list[tuple[Texts, Values]]:
    return [(op.key, op.image) for op in ops if op.image is not None and not isinstance(op.image, Unmade)]


def _lock_of(move: str) -> int:
    digest = hashlib.sha256(f"lockgate:into:{move}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
