"""Full text in SQLite: FTS5 over a table of documents, any of the query's words, ranked by bm25. The alias is a row."""

import re
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from lockgate.errors import LockgateError, Refused
from lockgate.postgres.quoting import identifier
from lockgate.stores.canonical import digest_of
from lockgate.stores.content import Content, Record, content_of, record_digest
from lockgate.stores.fts import PROBE
from lockgate.stores.manifest import Manifest, read_manifest
from lockgate.stores.refusals import exists_already, must_move, refuse_drop, unknown
from lockgate.stores.searching import Answered, Capabilities, Description, Found

_WORD = re.compile(r"\w+")


class Fts5:
    """One SQLite file with generations and aliases."""

    capabilities = Capabilities("atomic", "exact")

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._db = sqlite3.connect(path, isolation_level=None, timeout=10)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS lockgate_manifest (physical TEXT PRIMARY KEY, manifest TEXT NOT NULL)"
            )
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS lockgate_alias (alias TEXT PRIMARY KEY, physical TEXT NOT NULL)"
            )
        except sqlite3.Error as error:
            raise LockgateError(f"{path}: {error}", "INDEX_STORE") from None

    def create(self, physical: str, manifest: Manifest) -> None:
        """See ``SearchStore``."""
        if exists_already(physical, self.manifest(physical), manifest):
            return
        docs, words = identifier(physical), identifier(f"{physical}_words")
        tokenizer = manifest.analyzer.replace("'", "''")
        with _Transaction(self._db):
            self._db.execute(
                f"CREATE TABLE {docs} (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, text TEXT NOT NULL, payload TEXT NOT NULL)"
            )
            try:
                self._db.execute(
                    f"CREATE VIRTUAL TABLE {words} USING fts5(text, content='{physical}', content_rowid='number', tokenize='{tokenizer}')"
                )
            except sqlite3.Error as error:
                raise Refused(
                    f"FTS5 does not take the tokenizer {manifest.analyzer!r}: {error}", "INDEX_SPEC"
                ) from None
            self._db.execute("INSERT INTO lockgate_manifest VALUES (?, ?)", (physical, manifest.as_json()))

    def manifest(self, physical: str) -> Manifest | None:
        """See ``SearchStore``."""
        row = self._db.execute(
            "SELECT manifest FROM lockgate_manifest WHERE physical = ?", (physical,)
        ).fetchone()
        return read_manifest(row[0]) if row else None

    def upsert(self, physical: str, records: Sequence[Record]) -> None:
        """See ``SearchStore``."""
        self._refuse_unknown(physical)
        docs, words = identifier(physical), identifier(f"{physical}_words")
        with _Transaction(self._db):
            for r in records:
                self._forget(physical, r.id)
                number = self._db.execute(
                    f"INSERT INTO {docs} (id, text, payload) VALUES (?, ?, ?)", (r.id, r.text, r.payload)
                ).lastrowid
                self._db.execute(f"INSERT INTO {words} (rowid, text) VALUES (?, ?)", (number, r.text))

    def load(self, physical: str, records: Sequence[Record]) -> None:
        """See ``SearchStore``."""
        self.upsert(physical, records)

    def delete(self, physical: str, ids: Sequence[str]) -> None:
        """See ``SearchStore``."""
        self._refuse_unknown(physical)
        with _Transaction(self._db):
            for id_ in ids:
                self._forget(physical, id_)

    def _refuse_unknown(self, physical: str) -> None:
        if self.manifest(physical) is None:
            raise unknown(physical)

    def _forget(self, physical: str, id_: str) -> None:
        docs, words = identifier(physical), identifier(f"{physical}_words")
        row = self._db.execute(f"SELECT number, text FROM {docs} WHERE id = ?", (id_,)).fetchone()
        if row:
            self._db.execute(f"INSERT INTO {words} ({words}, rowid, text) VALUES ('delete', ?, ?)", row)
            self._db.execute(f"DELETE FROM {docs} WHERE number = ?", row[:1])

    def finalise(self, physical: str, manifest: Manifest) -> None:
        """See ``SearchStore``."""
        words = identifier(f"{physical}_words")
        self._db.execute(f"INSERT INTO {words} ({words}) VALUES ('optimize')")

    def last_id(self, physical: str) -> str | None:
        """See ``SearchStore``."""
        found: str | None = self._db.execute(f"SELECT max(id) FROM {identifier(physical)}").fetchone()[0]
        return found

    def scan(self, physical: str) -> Iterator[tuple[Record, bytes]]:
        """See ``SearchStore``."""
        for row in self._db.execute(f"SELECT id, text, payload FROM {identifier(physical)} ORDER BY id"):
            yield Record(*row), b""

    def record_digests(self, physical: str, ids: Sequence[str]) -> dict[str, bytes]:
        """See ``LiveStore``."""
        found: dict[str, bytes] = {}
        for start in range(0, len(ids), 500):
            part = ids[start : start + 500]
            marks = ", ".join("?" * len(part))
            for row in self._db.execute(f"SELECT id, text, payload FROM {identifier(physical)} WHERE id IN ({marks})", part):  # fmt: skip
                found[row[0]] = record_digest(row[0], row[1], row[2], b"")
        return found

    def count(self, physical: str) -> int:
        """See ``SearchStore``."""
        if self.manifest(physical) is None:
            raise unknown(physical)
        found: int = self._db.execute(f"SELECT count(*) FROM {identifier(physical)}").fetchone()[0]
        return found

    def content(self, physical: str) -> Content:
        """See ``SearchStore``."""
        return content_of(self.scan(physical))

    def describe(self, physical: str) -> Description:
        """See ``SearchStore``. The tokenizer is read from the table's own definition."""
        docs, words = identifier(physical), identifier(f"{physical}_words")
        records = self._db.execute(f"SELECT count(*) FROM {docs}").fetchone()[0]
        indexed = self._db.execute(
            f"SELECT count(*) FROM {identifier(f'{physical}_words_docsize')}"
        ).fetchone()[0]
        valid = True
        try:
            self._db.execute(f"INSERT INTO {words} ({words}, rank) VALUES ('integrity-check', 1)")
        except sqlite3.DatabaseError:
            valid = False
        made = self._db.execute(
            "SELECT sql FROM sqlite_master WHERE name = ?", (f"{physical}_words",)
        ).fetchone()[0]
        analyzer = made.partition("tokenize='")[2].partition("')")[0].replace("''", "'")
        return Description(
            records, valid=valid, unindexed=max(0, records - indexed), analyzer=analyzer,
            analyzer_fingerprint=self.fingerprint(analyzer), engine=f"SQLite {sqlite3.sqlite_version} FTS5",
        )  # fmt: skip

    def fingerprint(self, analyzer: str) -> str:
        """The digest of the terms that the tokenizer makes of ``PROBE``."""
        with sqlite3.connect(":memory:") as db:
            try:
                db.execute(
                    "CREATE VIRTUAL TABLE t USING fts5(text, tokenize='" + analyzer.replace("'", "''") + "')"
                )
            except sqlite3.Error as error:
                raise Refused(
                    f"FTS5 does not take the tokenizer {analyzer!r}: {error}", "INDEX_SPEC"
                ) from None
            db.execute("INSERT INTO t VALUES (?)", (PROBE,))
            db.execute("CREATE VIRTUAL TABLE v USING fts5vocab(t, 'row')")
            terms = [row[0] for row in db.execute("SELECT term FROM v ORDER BY term")]
        db.close()
        return digest_of("lockgate:analyzer:1", terms)

    def query(
        self, target: str, question: "str | Sequence[float]", k: int, *, search: int = 0, exact: bool = False
    ) -> Answered:
        """See ``SearchStore``."""
        assert isinstance(question, str)
        physical = self.resolve(target) or target
        wanted = " OR ".join(f'"{word}"' for word in _WORD.findall(question))
        if self.manifest(physical) is None:
            raise unknown(target)
        if not wanted:
            return Answered(physical, ())
        docs, words = identifier(physical), identifier(f"{physical}_words")
        rows = self._db.execute(
            f"SELECT d.id, -bm25({words}) FROM {words} w JOIN {docs} d ON d.number = w.rowid WHERE {words} MATCH ? ORDER BY bm25({words}), d.id LIMIT ?",
            (wanted, k),
        )
        return Answered(physical, tuple(Found(id_, score) for id_, score in rows))

    def resolve(self, alias: str) -> str | None:
        """See ``SearchStore``."""
        row = self._db.execute("SELECT physical FROM lockgate_alias WHERE alias = ?", (alias,)).fetchone()
        return row[0] if row else None

    def swap(self, alias: str, expect: str | None, to: str) -> None:
        """See ``SearchStore``."""
        with _Transaction(self._db):
            if not must_move(alias, self.resolve(alias), expect, to):
                return
            self._refuse_unknown(to)
            self._db.execute(
                "INSERT INTO lockgate_alias VALUES (?, ?) ON CONFLICT (alias) DO UPDATE SET physical = excluded.physical",
                (alias, to),
            )

    def drop(self, physical: str) -> None:
        """See ``SearchStore``."""
        refuse_drop(physical, dict(self._db.execute("SELECT alias, physical FROM lockgate_alias")))
        with _Transaction(self._db):
            self._db.execute(f"DROP TABLE IF EXISTS {identifier(f'{physical}_words')}")
            self._db.execute(f"DROP TABLE IF EXISTS {identifier(physical)}")
            self._db.execute("DELETE FROM lockgate_manifest WHERE physical = ?", (physical,))

    def physical(self, name: str) -> list[str]:
        """See ``SearchStore``."""
        rows = self._db.execute("SELECT physical FROM lockgate_manifest ORDER BY 1").fetchall()
        return [row[0] for row in rows if row[0].startswith(f"{name}__")]

    def close(self) -> None:
        """See ``SearchStore``."""
        self._db.close()


class _Transaction:
    """BEGIN IMMEDIATE ... COMMIT, or ROLLBACK when the block raises."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")
