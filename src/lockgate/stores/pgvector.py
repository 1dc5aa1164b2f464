"""Vectors in PostgreSQL with pgvector: exact storage (``vector``) or rounded to sixteen bits (``halfvec``), HNSW or IVFFlat."""

import struct
from collections.abc import Iterator, Sequence
from typing import Any

from lockgate.errors import Refused
from lockgate.postgres.link import BLOCK, AsBinary, Link, array, texts
from lockgate.postgres.sqlstate import ServerError
from lockgate.stores.content import Record, vector_hash
from lockgate.stores.manifest import Manifest
from lockgate.stores.pgsearch import SearchTables, missing, statement
from lockgate.stores.recordsql import kept_column, record_digest_sql
from lockgate.stores.refusals import refuse_form, unknown
from lockgate.stores.searching import Answered, Capabilities, Description, Found
from lockgate.stores.vectors import packed, rounded, unpacked

_OPERATORS = {"cosine": ("<=>", "cosine"), "l2": ("<->", "l2"), "ip": ("<#>", "ip")}
GRAPH_LIMITS = {"float32": 2000, "float16": 4000}
"""The most components that a graph of pgvector takes, by how they are stored."""
_DIMENSIONS = struct.Struct(">hh").pack
ITERATIVE = (0, 8)
"""Since this version a search goes on until it has k answers; before, dead rows and filters leave fewer."""
_FRAME = r"'\x56'::bytea || int8send(length(vector_send(embedding)) - 4) || substring(vector_send(embedding) FROM 5)"

_MADE = (f"sha256({_FRAME})", "32")
_HALVES = "vector_send(embedding::vector)"
_REWRITTEN = (
    rf"stored_hash <> sha256('\x56'::bytea || int8send(length({_HALVES}) - 4) || substring({_HALVES} FROM 5))"
)
"""Whether the rounded vector of a row is another one than was written with it, as SQL."""
_OTHER = "sha256(source_hash)"
"""What stands for the hash of the source in the digest of such a row: nothing was sealed with it."""
_SOURCE = ("source_hash", "length(source_hash)")
"""The hash of the source vector as SQL, and its length in bytes."""


class PgVector(SearchTables):
    """Tables of vectors. A table of halfvec keeps the hash of every source vector, and of what was stored of it."""

    column = "embedding"

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self._halves: dict[str, bool] = {}
        self._dimensions: dict[str, int] = {}
        self._oid = 0
        self._extension: tuple[int, int] | None = None

    capabilities = Capabilities("transactional", "exact")

    def columns(self, manifest: Manifest) -> str:
        """See ``SearchTables``."""
        assert manifest.embedding is not None
        refuse_form(manifest, "pgvector", ("flat", "hnsw", "ivfflat"), halves=True)
        most = GRAPH_LIMITS[manifest.embedding.dtype]
        if manifest.ann.get("type", "flat") != "flat" and manifest.dimension > most:
            # The server says so, too, but only after every vector was written.
            raise Refused(
                f"a graph of pgvector takes at most {most} components of {manifest.embedding.dtype}, not {manifest.dimension}", "INDEX_SPEC",
                next="--dtype float16 (up to 4000), or --ann flat",
            )  # fmt: skip
        if not self.link.rows("SELECT 1 FROM pg_catalog.pg_extension WHERE extname = 'vector'"):
            try:
                with self.link.transaction():
                    self.link.run("CREATE EXTENSION vector")
                    self.link.run("COMMENT ON EXTENSION vector IS 'lockgate: made for an index'")
            except ServerError as error:
                raise missing("vector") from error
        if manifest.embedding.dtype == "float16":
            return f"embedding halfvec({manifest.dimension}) NOT NULL, source_hash bytea NOT NULL, stored_hash bytea NOT NULL"
        return f"embedding vector({manifest.dimension}) NOT NULL"

    def kept_digest(self, manifest: Manifest) -> str:
        """See ``SearchTables``. The server makes it of the vector itself, so nobody can write another one beside it."""
        if manifest.embedding is not None and manifest.embedding.dtype == "float16":
            return kept_column(*_SOURCE)
        # Of a column with a dimension the frame is the same for all rows, and a vector is sent once for it and not twice.
        frame = b"V" + (4 * manifest.dimension).to_bytes(8, "big")
        return kept_column(
            rf"sha256('\x{frame.hex()}'::bytea || substring(vector_send(embedding) FROM 5))", "32"
        )

    def _half(self, physical: str) -> bool:
        if physical not in self._halves:
            kind = self.link.value(
                "SELECT pg_catalog.format_type(a.atttypid, NULL) FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1::regclass AND a.attname = 'embedding'",
                self._sql(physical),
            )
            self._halves[physical] = kind == "halfvec"
        return self._halves[physical]

    def _dimension(self, physical: str) -> int:
        if physical not in self._dimensions:
            self._dimensions[physical] = self.link.value(
                "SELECT a.atttypmod FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1::regclass AND a.attname = 'embedding'",
                self._sql(physical),
            )
        return self._dimensions[physical]

    def _type(self, physical: str) -> str:
        return "halfvec" if self._half(physical) else "vector"

    def cast(self, column: str, physical: str) -> str:
        """See ``SearchTables``. A vector travels as an array literal of binary32 components."""
        return (
            f"embedding::{self._type(physical)}" if column == "embedding" else super().cast(column, physical)
        )

    def upsert(self, physical: str, records: Sequence[Record]) -> None:
        """See ``SearchStore``."""
        self.refuse_alias(physical)
        last = list({r.id: r for r in records}.values())
        half = self._half(physical)
        for r in last:
            if r.vector is None:
                raise Refused(f"record {r.id!r} has no vector", "INDEX_RECORD")
        if not last:
            return
        names, types = ["id", "text", "payload", "embedding"], ["text", "text", "text"]
        columns: list[Any] = [
            texts([r.id for r in last]),
            texts([r.text for r in last]),
            texts([r.payload for r in last]),
        ]
        try:
            vectors = [packed(r.vector or ()) for r in last]
            if half:
                halves = [rounded(r.vector or ()) for r in last]
                names += ["source_hash", "stored_hash"]
                types += ["text", "bytea", "bytea"]
                columns += [list(map(_literal, halves)), list(map(vector_hash, vectors)), [vector_hash(packed(h)) for h in halves]]  # fmt: skip
            else:
                types.append("vector")
                columns.append(self._array(vectors))
            self._upsert(physical, names, types, columns)
        except OverflowError:
            raise Refused(f"{physical} does not take these vectors: a component is no binary32", "INDEX_RECORD") from None  # fmt: skip
        except ServerError as error:
            if error.sqlstate.startswith("22"):
                raise Refused(
                    f"{physical} does not take these vectors: {error.message}", "INDEX_RECORD"
                ) from None
            raise

    def _array(self, vectors: Sequence[bytes]) -> AsBinary:
        """Vectors as one parameter ``vector[]``, in the server's own form: as text each component would be written and read."""
        if not self._oid:
            self._oid = int(self.link.value("SELECT 'vector'::regtype::oid::bigint"))
        return array([_DIMENSIONS(len(v) // 4, 0) + v for v in vectors], self._oid)

    def load(self, physical: str, records: Sequence[Record]) -> None:
        """See ``SearchStore``. A binary COPY; all of it or nothing."""
        self.refuse_alias(physical)
        half, dimension = self._half(physical), self._dimension(physical)
        if half or any(r.vector is None or len(r.vector) != dimension for r in records):
            self.upsert(physical, records)
            return
        head = struct.pack(">hh", dimension, 0)
        size = (len(head) + 4 * dimension).to_bytes(4, "big")

        def rows() -> Iterator[bytes]:
            """Some rows at a time: the server works on the first ones while the next are made."""
            block = bytearray(b"PGCOPY\n\xff\r\n\0" + bytes(8))
            for r in records:
                id_, text, payload = r.id.encode(), r.text.encode(), r.payload.encode()
                block += b"".join((
                    b"\0\4", len(id_).to_bytes(4, "big"), id_, len(text).to_bytes(4, "big"), text,
                    len(payload).to_bytes(4, "big"), payload, size, head, packed(r.vector or ()),
                ))  # fmt: skip
                if len(block) > BLOCK:
                    yield bytes(block)
                    block.clear()
            yield bytes(block) + b"\xff\xff"

        sql = f"COPY {self._sql(physical)} (id, text, payload, embedding) FROM STDIN (FORMAT binary)"
        try:
            self.link.copy_in(sql, rows())
        except ServerError as error:
            if error.sqlstate == "23505":  # some are there already: an earlier try of this batch
                self.upsert(physical, records)
            elif error.sqlstate.startswith("22"):
                raise Refused(
                    f"{physical} does not take these vectors: {error.message}", "INDEX_RECORD"
                ) from None
            else:
                raise

    def finalise(self, physical: str, manifest: Manifest) -> None:
        """See ``SearchStore``. A build that was cancelled left an invalid index, which is dropped and built again."""
        for method, _, _, valid, name in self._indexes(physical):
            if method in ("hnsw", "ivfflat") and not valid:
                self.link.run(f'DROP INDEX "lockgate_index"."{name}"')
        kind = manifest.ann.get("type", "")
        if kind in ("", "flat"):
            self.link.run(f"ANALYZE {self._sql(physical)}")
            return
        if not any(row[0] == kind for row in self._indexes(physical)):
            options = ", ".join(f"{k} = {int(v)}" for k, v in sorted(manifest.ann.items()) if k != "type")
            opclass = f"{self._type(physical)}_{_OPERATORS[manifest.metric][1]}_ops"
            self.link.run(
                f"CREATE INDEX ON {self._sql(physical)} USING {kind} (embedding {opclass}){f' WITH ({options})' if options else ''}"
            )
        self.link.run(f"ANALYZE {self._sql(physical)}")

    def source_hash(self, physical: str) -> tuple[str, str]:
        """See ``SearchTables``. Tables of an older lockgate kept the hash of the vector in place of the record's."""
        if self._half(physical):
            return _SOURCE
        return ("vector_hash", "32") if self.is_generated(physical, "vector_hash") else _MADE

    def digest(self, physical: str) -> str:
        """See ``SearchTables``. A rounded vector that is not the one that was written has another digest, though the hash of its source still stands beside it."""
        plain = super().digest(physical)
        if not self._half(physical):
            return plain
        other = record_digest_sql(_OTHER, "32", utf8=self._is_utf8())
        return f"CASE WHEN {_REWRITTEN} THEN {other} ELSE {plain} END"

    def scan(self, physical: str) -> Iterator[tuple[Record, bytes]]:
        """See ``SearchStore``."""
        half = self._half(physical)
        source, _ = self.source_hash(physical)
        if half:
            source = f"CASE WHEN {_REWRITTEN} THEN {_OTHER} ELSE {source} END"
        sql = f"SELECT id, text, payload, substring(vector_send(embedding{'::vector' if half else ''}) FROM 5), {source} FROM {self._sql(physical)} ORDER BY id"
        with self.link.transaction("ISOLATION LEVEL REPEATABLE READ READ ONLY"):
            for id_, text, payload, vector, digest in self.link.stream(sql):
                yield Record(id_, text, payload, unpacked(bytes(vector))), bytes(digest)

    def describe(self, physical: str) -> Description:
        """See ``SearchStore``."""
        half = self._half(physical)
        wrong = _REWRITTEN if half else "false"
        norm = "l2_norm(embedding)" if half else "vector_norm(embedding)"
        sql = statement("search_vector_facts").format(norm=norm, wrong=wrong, table=self._sql(physical))
        count, zero, broken, low, high, bad = self.link.rows(sql)[0]
        dimension = self.link.value(
            "SELECT a.atttypmod FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1::regclass AND a.attname = 'embedding'",
            self._sql(physical),
        )
        graphs = [row for row in self._indexes(physical) if row[0] in ("hnsw", "ivfflat")]
        metric, ann, valid = "", {"type": "flat"}, True
        if graphs:
            method, opclass, options, valid, _ = graphs[0]
            metric = opclass.removeprefix("halfvec_").removeprefix("vector_").removesuffix("_ops")
            ann = {"type": method, **dict(o.split("=", 1) for o in options.split(",") if o)}
        engine = self.link.value("SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'vector'")
        return Description(
            count, dimension, metric, valid, bool(graphs), 0, zero, broken, low, high, bad, ann=ann, engine=f"pgvector {engine}",
        )  # fmt: skip

    def query(
        self, target: str, question: "str | Sequence[float]", k: int, *, search: int = 0, exact: bool = False
    ) -> Answered:
        """See ``SearchStore``. The alias is read once, and the answer comes from what it pointed to."""
        assert not isinstance(question, str)
        with self.link.transaction("ISOLATION LEVEL REPEATABLE READ READ ONLY"):
            physical = self.resolve(target) or target
            manifest = self.manifest(physical)
            if manifest is None:
                raise unknown(target)
            operator = _OPERATORS[manifest.metric][0]
            if exact:
                self.link.run("SET LOCAL enable_indexscan = off")
            else:
                # Never below k, and 1000 at most: the server takes no more. What is then still missing is searched for on and on.
                self.link.run(f"SET LOCAL hnsw.ef_search = {min(1000, max(k, search, 40))}")
                self.link.run(f"SET LOCAL ivfflat.probes = {max(1, search or 10)}")
                if self._version() >= ITERATIVE:
                    self.link.run("SET LOCAL hnsw.iterative_scan = strict_order")
                    self.link.run("SET LOCAL ivfflat.iterative_scan = relaxed_order")
            distance = f"embedding {operator} $1::{self._type(physical)}"
            rows = self.link.rows(
                f"SELECT id, {distance} FROM {self._sql(physical)} ORDER BY {distance} LIMIT $2::int",
                _literal(question),
                k,
            )
        cosine = manifest.metric == "cosine"
        found = [Found(id_, 1 - d if cosine else -d) for id_, d in rows]
        return Answered(physical, tuple(sorted(found, key=lambda f: (-f.score, f.id))))

    def _version(self) -> tuple[int, int]:
        """Major and minor version of the extension."""
        if self._extension is None:
            said = str(self.link.value("SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'vector'")).split(".")  # fmt: skip
            self._extension = (int(said[0]), int(said[1]))
        return self._extension


def _literal(vector: Sequence[float]) -> str:
    return "[" + ",".join(map(repr, vector)) + "]"
