"""What every searched table of PostgreSQL has in common: a table for each generation, a view as alias, digests in the server.

Tables and views stand in the schema ``lockgate_index``. A view is replaced in one transaction, under a short lock
time-out: a reader sees the old generation or the new one, never both and never neither.
"""

import json
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from lockgate.errors import Busy, LockgateError, Refused
from lockgate.postgres.link import Link, texts
from lockgate.postgres.quoting import identifier, literal, qualified
from lockgate.postgres.sqlstate import ServerError
from lockgate.stores.content import Content, Record
from lockgate.stores.manifest import Manifest, read_manifest
from lockgate.stores.recordsql import COLUMN, kept_column, record_digest_sql
from lockgate.stores.refusals import exists_already, must_move, refuse_stranger, unknown
from lockgate.stores.searching import Capabilities

SCHEMA = "lockgate_index"
_FOLDER = Path(__file__).parent / "sql"
SWAP_LOCK_TIMEOUT = "2s"
"""How long a swap may wait for readers. While it waits, new readers queue behind it."""


@cache
def statement(name: str) -> str:
    """The SQL of ``sql/<name>.sql``, without its comment."""
    return "\n".join(
        line
        for line in (_FOLDER / f"{name}.sql").read_text("utf-8").splitlines()
        if not line.startswith("--")
    )


class SearchTables:
    """Generations as tables of one database. Holds no session of its own; ``link`` is shared with the desk."""

    capabilities = Capabilities("transactional", "exact")
    column = ""

    def __init__(self, link: Link) -> None:
        self.link = link
        self._tables: set[str] = set()
        self._utf8: bool | None = None
        self._digests: dict[str, str] = {}

    # -- what a kind of table adds --------------------------------------------------------------------

    def columns(self, manifest: Manifest) -> str:
        """The columns beside id, text and payload."""
        raise NotImplementedError

    def source_hash(self, physical: str) -> tuple[str, str]:
        """The hash of a row's source vector as SQL, and its length: nothing where there are no vectors."""
        return "''::bytea", "0"

    def kept_digest(self, manifest: Manifest) -> str:
        """The generated column that keeps the digest of each record."""
        return kept_column("''::bytea", "0")

    # -- tables ---------------------------------------------------------------------------------------

    def create(self, physical: str, manifest: Manifest) -> None:
        """See ``SearchStore``."""
        if exists_already(f"{SCHEMA}.{physical}", self.manifest(physical), manifest):
            return
        if self._kind(physical):
            raise refuse_stranger(f"{SCHEMA}.{physical}")
        with self.link.transaction():
            if not self.link.rows("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1", SCHEMA):
                self.link.run(f"CREATE SCHEMA {SCHEMA}")
            kept = f", {self.kept_digest(manifest)}" if self._is_utf8() else ""
            self.link.run(
                f"CREATE TABLE {self._sql(physical)} (id text COLLATE \"C\" PRIMARY KEY, text text NOT NULL DEFAULT '', "
                f"payload text NOT NULL DEFAULT '{{}}', {self.columns(manifest)}{kept})"
            )
            self.link.run(f"COMMENT ON TABLE {self._sql(physical)} IS {literal(manifest.as_json())}")

    def manifest(self, physical: str) -> Manifest | None:
        """See ``SearchStore``."""
        if self._kind(physical) != "r":
            return None
        text = self.link.value(
            "SELECT pg_catalog.obj_description($1::regclass, 'pg_class')", self._sql(physical)
        )
        return read_manifest(text) if text else None

    def upsert(self, physical: str, records: Sequence[Record]) -> None:
        """See ``SearchStore``."""
        raise NotImplementedError

    def load(self, physical: str, records: Sequence[Record]) -> None:
        """See ``SearchStore``."""
        self.upsert(physical, records)

    def delete(self, physical: str, ids: Sequence[str]) -> None:
        """See ``SearchStore``."""
        self.refuse_alias(physical)
        self.link.run(f"DELETE FROM {self._sql(physical)} WHERE id = ANY ($1::text[])", list(ids))

    def last_id(self, physical: str) -> str | None:
        """See ``SearchStore``."""
        found: str | None = self.link.value(f"SELECT max(id) FROM {self._sql(physical)}")
        return found

    def count(self, physical: str) -> int:
        """See ``SearchStore``."""
        if self._kind(physical) != "r":
            raise unknown(physical)
        found: int = self.link.value(f"SELECT count(*) FROM {self._sql(physical)}")
        return found

    def content(self, physical: str) -> Content:
        """See ``SearchStore``. Runs in the server; several of its processes share it where it may."""
        if self._kind(physical) != "r":
            raise unknown(physical)
        sql = statement("search_content").format(table=self._sql(physical), digest=self.digest(physical))
        rows = self.link.rows(sql)
        return Content(sum(n for _, n, _ in rows), {b: bytes(d) for b, _, d in rows})

    def record_digests(self, physical: str, ids: Sequence[str]) -> dict[str, bytes]:
        """See ``LiveStore``. Runs in the server; vectors stay there."""
        if (
            physical not in self._digests
        ):  # a backfill asks after every batch; the proof, by ``content``, looks anew
            self._digests[physical] = self.digest(physical)
        sql = statement("search_digests").format(table=self._sql(physical), digest=self._digests[physical])
        return {id_: bytes(digest) for id_, digest in self.link.rows(sql, texts(ids), binary=True)}

    def digest(self, physical: str) -> str:
        """The digest of a row's record as SQL: kept beside it, or made of it in a table of an older lockgate or in another encoding."""
        if self._is_utf8() and self.is_generated(
            physical, COLUMN
        ):  # a dump restored in another encoding has other bytes
            return COLUMN
        return record_digest_sql(*self.source_hash(physical), utf8=self._is_utf8())

    def _is_utf8(self) -> bool:
        if self._utf8 is None:
            self._utf8 = self.link.value("SELECT pg_catalog.getdatabaseencoding()") == "UTF8"
        return self._utf8

    def is_generated(self, physical: str, column: str) -> bool:
        """True where the server itself makes this column."""
        found = self.link.rows(
            "SELECT 1 FROM pg_catalog.pg_attribute WHERE attrelid = $1::regclass AND attname = $2 AND attgenerated = 's'",
            self._sql(physical),
            column,
        )
        return bool(found)

    def scan(self, physical: str) -> Iterator[tuple[Record, bytes]]:
        """See ``SearchStore``."""
        raise NotImplementedError

    def drop(self, physical: str) -> None:
        """See ``SearchStore``."""
        kind = self._kind(physical)
        if kind == "v":
            raise Refused(f"{physical} is an alias", "INDEX_ALIAS", next="Name a generation.")
        if kind:
            self._tables.discard(physical)
            self._digests.pop(physical, None)
            try:
                self.link.run(f"DROP TABLE {self._sql(physical)}")
            except ServerError as error:
                if error.sqlstate == "2BP01":
                    raise Refused(
                        f"{physical} is still used: {error.detail or error.message}", "INDEX_ALIAS"
                    ) from None
                raise

    def physical(self, name: str) -> list[str]:
        """See ``SearchStore``."""
        rows = self.link.rows(
            "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = $1 AND c.relkind = 'r' AND pg_catalog.starts_with(c.relname::text, $2) ORDER BY 1",
            SCHEMA, f"{name}__",
        )  # fmt: skip
        return [row[0] for row in rows]

    # -- alias ----------------------------------------------------------------------------------------

    def resolve(self, alias: str) -> str | None:
        """See ``SearchStore``."""
        if self._kind(alias) != "v":
            return None
        text = self.link.value(
            "SELECT pg_catalog.obj_description($1::regclass, 'pg_class')", self._sql(alias)
        )
        found: str | None = json.loads(text)["physical"] if text else None
        return found

    def swap(self, alias: str, expect: str | None, to: str) -> None:
        """See ``SearchStore``. Inside the caller's transaction where one is open."""
        if self.link.in_transaction:
            self._swap(alias, expect, to)
        else:
            with self.link.transaction():
                self._swap(alias, expect, to)

    def _swap(self, alias: str, expect: str | None, to: str) -> None:
        self.link.run(f"SET LOCAL lock_timeout = '{SWAP_LOCK_TIMEOUT}'")
        if not must_move(alias, self.resolve(alias), expect, to):
            return
        self.refuse_alias(to)
        if self._kind(alias) not in ("", "v"):
            raise Refused(f"there is a relation of the name {alias}, so no alias can have it", "INDEX_ALIAS")
        names = self._view_columns(to)
        view = f"SELECT {names}, {literal(to)}::text AS generation FROM {self._sql(to)}"
        try:
            self.link.run("SAVEPOINT replace")
            self.link.run(f"CREATE OR REPLACE VIEW {self._sql(alias)} AS {view}")
        except ServerError as error:
            if error.sqlstate == "55P03":
                raise _waited(alias) from None
            if error.sqlstate != "42P16":
                raise
            self.link.run("ROLLBACK TO SAVEPOINT replace")
            self._remake(alias, view)
        self.link.run(f"COMMENT ON VIEW {self._sql(alias)} IS {literal(json.dumps({'physical': to}))}")

    def _remake(self, alias: str, view: str) -> None:
        """Drop and create: another dimension is another column type. Grants are carried over."""
        grants = self.link.rows(
            "SELECT a.privilege_type, CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(r.rolname) END "
            "FROM pg_catalog.pg_class c, LATERAL pg_catalog.aclexplode(c.relacl) a LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee "
            "WHERE c.oid = $1::regclass AND a.grantee <> c.relowner", self._sql(alias),
        )  # fmt: skip
        try:
            self.link.run(f"DROP VIEW {self._sql(alias)}")
        except ServerError as error:
            if error.sqlstate == "55P03":
                raise _waited(alias) from None
            if error.sqlstate != "2BP01":
                raise
            raise Refused(
                f"the alias {alias} has to be made anew for other columns, and something depends on it: {error.detail or error.message}",
                "INDEX_ALIAS", next="Drop what depends on it, swap, and create it again.",
            ) from None  # fmt: skip
        self.link.run(f"CREATE VIEW {self._sql(alias)} AS {view}")
        for privilege, role in grants:
            self.link.run(f"GRANT {privilege} ON {self._sql(alias)} TO {role}")

    def _view_columns(self, physical: str) -> str:
        return ", ".join(["id", "text", "payload", *([self.column] if self.column else [])])

    def close(self) -> None:
        """See ``SearchStore``. The session belongs to who opened it."""

    # -- small things -----------------------------------------------------------------------------------

    def refuse_alias(self, physical: str) -> None:
        """Raise where there is no table of this name. A view would take writes, and pass them on to whatever it shows just now."""
        if physical not in self._tables:
            if self._kind(physical) != "r":
                raise unknown(physical)
            self._tables.add(physical)

    def _sql(self, name: str) -> str:
        return qualified(SCHEMA, name)

    def _kind(self, name: str) -> str:
        """``r`` for a table, ``v`` for a view, "" where there is none."""
        found = self.link.value(
            "SELECT c.relkind::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = $1 AND c.relname = $2", SCHEMA, name,
        )  # fmt: skip
        return found or ""

    def _indexes(self, physical: str) -> list[tuple[Any, ...]]:
        return self.link.rows(statement("search_index"), self._sql(physical))

    def _upsert(
        self, physical: str, columns: Sequence[str], types: Sequence[str], values: Sequence[Any]
    ) -> None:
        """One statement for many rows: an array for each column in, rows out, last one wins."""
        self.refuse_alias(physical)
        names = ", ".join(map(identifier, columns))
        arrays = ", ".join(f"${n}::{kind}[]" for n, kind in enumerate(types, 1))
        changes = ", ".join(f"{identifier(c)} = excluded.{identifier(c)}" for c in columns if c != "id")
        casts = ", ".join(self.cast(c, physical) for c in columns)
        self.link.run(
            f"INSERT INTO {self._sql(physical)} ({names}) SELECT {casts} FROM unnest({arrays}) AS u ({names}) "
            f"ON CONFLICT (id) DO UPDATE SET {changes}",
            *values,
        )

    def cast(self, column: str, physical: str) -> str:
        """How a column of an upsert is turned into its type."""
        return identifier(column)


def _waited(alias: str) -> Busy:
    return Busy(
        f"readers hold the alias {alias}: the swap did not wait longer than {SWAP_LOCK_TIMEOUT}", "LOCK_TIMEOUT"
    )  # fmt: skip


def missing(extension: str) -> LockgateError:
    """The error where a server lacks an extension."""
    return Refused(f"this server does not have the extension {extension}", "EXTENSION_MISSING")
